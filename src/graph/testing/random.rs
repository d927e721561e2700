//! Random networks that shrink: [`genes`] are drawn, [`grow`] makes a graph of them.
//!
//! A gene is an operator, which of the values so far it reads, and a size. Every list of genes is a
//! valid network, so a failing one is made smaller by leaving genes out.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};

use crate::graph::Graph;
use crate::graph::testing::{Net, net};
use crate::ops::AttrValue;

/// What the next node is; the values count modulo those there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gene {
    kind: u8,
    reads: [u8; 2],
    size: u8,
}

/// Up to `most` of them.
pub(crate) fn genes(most: usize) -> impl Strategy<Value = Vec<Gene>> {
    let gene = (any::<u8>(), any::<[u8; 2]>(), any::<u8>());
    vec(gene.prop_map(|(kind, reads, size)| Gene { kind, reads, size }), 1..=most)
}

/// A network on an image; everything that no one reads is an output.
pub(crate) fn grow(genes: &[Gene]) -> Graph {
    let image = Made { name: "x".to_owned(), shape: vec![1, 5, 9, 8], is_read: false };
    let mut growing = Growing { net: net(&[("x", &image.shape)]), made: vec![image] };
    for (index, gene) in genes.iter().enumerate() {
        growing = growing.add(*gene, &format!("n{index}"));
    }
    let outputs: Vec<&str> =
        growing.made.iter().filter(|made| !made.is_read).map(|made| &*made.name).collect();
    growing.net.outputs(&outputs)
}

#[derive(Clone)]
struct Made {
    name: String,
    shape: Vec<usize>,
    is_read: bool,
}

struct Growing {
    net: Net,
    made: Vec<Made>,
}

impl Growing {
    /// Images stay images; rows, once flat, stay rows.
    fn add(mut self, gene: Gene, y: &str) -> Growing {
        let x = self.read(gene.reads[0], |_| true);
        let channels = 1 + usize::from(gene.size % 40);
        let stride = 1 + usize::from(gene.size / 128);
        match *x.shape {
            [_, depth, height, width] => match gene.kind % 13 {
                0 | 1 => self.convolution(&x, y, [channels, depth, 1, 1], stride, 1),
                2 => self.convolution(&x, y, [channels, depth, 3, 3], stride, 1),
                3 => self.convolution(&x, y, [depth, 1, 3, 3], stride, depth),
                4 if 3 <= height.min(width) => self.pool("MaxPool", &x, y),
                5 if 3 <= height.min(width) => self.pool("AveragePool", &x, y),
                6 => self.plain("GlobalAveragePool", &x, y, vec![1, depth, 1, 1]),
                7 => self.joined(&x, gene.reads[1], y),
                8 => {
                    let other = self.read(gene.reads[1], |made| goes_with(made, &x.shape));
                    let operator = if gene.size.is_multiple_of(2) { "Add" } else { "Mul" };
                    self.two(operator, &x, &other, y, x.shape.clone())
                }
                9 => self.plain("Flatten", &x, y, vec![1, depth * height * width]),
                kind => self.activation(kind, &x, y),
            },
            [_, depth] => match gene.kind % 6 {
                0 | 1 => self.product(&x, y, [depth, channels]),
                2 => self.plain("Softmax", &x, y, x.shape.clone()),
                3 => {
                    let other = self.read(gene.reads[1], |made| made.shape == x.shape);
                    self.two("Add", &x, &other, y, x.shape.clone())
                }
                kind => self.activation(kind, &x, y),
            },
            _ => unreachable!("values are images and rows"),
        }
    }

    /// One of those that will do; the first value will where no other does, or there is none.
    fn read(&mut self, which: u8, will_do: impl Fn(&Made) -> bool) -> Made {
        let fitting: Vec<usize> =
            (0..self.made.len()).filter(|&index| will_do(&self.made[index])).collect();
        // Of the newest ones, so that networks become deep.
        let newest = fitting.len().min(4);
        let index = fitting[fitting.len() - 1 - usize::from(which) % newest];
        self.made[index].is_read = true;
        self.made[index].clone()
    }

    fn with(self, y: &str, shape: Vec<usize>, grow: impl FnOnce(Net) -> Net) -> Growing {
        let Growing { net, mut made } = self;
        made.push(Made { name: y.to_owned(), shape, is_read: false });
        Growing { net: grow(net), made }
    }

    fn plain(self, operator: &str, x: &Made, y: &str, shape: Vec<usize>) -> Growing {
        self.with(y, shape, |net| net.node(operator, &[&x.name], y))
    }

    fn two(self, operator: &str, a: &Made, b: &Made, y: &str, shape: Vec<usize>) -> Growing {
        self.with(y, shape, |net| net.node(operator, &[&a.name, &b.name], y))
    }

    fn activation(self, kind: u8, x: &Made, y: &str) -> Growing {
        let operators = ["Relu", "HardSwish", "Sigmoid", "Tanh", "LeakyRelu"];
        let operator = operators[usize::from(kind) % operators.len()];
        self.plain(operator, x, y, x.shape.clone())
    }

    /// `w` is `[channels, depth of a group, height, width]`; the padding is half the kernel.
    fn convolution(
        self,
        x: &Made,
        y: &str,
        w: [usize; 4],
        stride: usize,
        groups: usize,
    ) -> Growing {
        let out = |size: usize| (size - 1) / stride + 1;
        let shape = vec![1, w[0], out(x.shape[2]), out(x.shape[3])];
        let [weight, bias] = ["w", "b"].map(|part| format!("{y}.{part}"));
        self.with(y, shape, |net| {
            net.weight(&weight, &w)
                .weight(&bias, &w[..1])
                .node("Conv", &[&x.name, &weight, &bias], y)
                .attr("strides", AttrValue::Ints(vec![stride as i64; 2]))
                .attr("pads", AttrValue::Ints(vec![w[2] as i64 / 2; 4]))
                .attr("group", AttrValue::Int(groups as i64))
        })
    }

    fn pool(self, operator: &str, x: &Made, y: &str) -> Growing {
        let shape = vec![1, x.shape[1], (x.shape[2] - 3) / 2 + 1, (x.shape[3] - 3) / 2 + 1];
        self.with(y, shape, |net| {
            net.node(operator, &[&x.name], y)
                .attr("kernel_shape", AttrValue::Ints(vec![3, 3]))
                .attr("strides", AttrValue::Ints(vec![2, 2]))
        })
    }

    fn joined(mut self, x: &Made, which: u8, y: &str) -> Growing {
        let like = |made: &Made| made.shape.len() == 4 && made.shape[2..] == x.shape[2..];
        let other = self.read(which, like);
        let mut shape = x.shape.clone();
        shape[1] += other.shape[1];
        self.with(y, shape, |net| {
            net.node("Concat", &[&x.name, &other.name], y).attr("axis", AttrValue::Int(1))
        })
    }

    fn product(self, x: &Made, y: &str, w: [usize; 2]) -> Growing {
        let weight = format!("{y}.w");
        self.with(y, vec![1, w[1]], |net| {
            net.weight(&weight, &w).node("MatMul", &[&x.name, &weight], y)
        })
    }
}

/// Equal, or one number for each channel.
fn goes_with(made: &Made, shape: &[usize]) -> bool {
    made.shape == shape || made.shape == [1, shape[1], 1, 1]
}
