"""Trains the digits example: writes model.onnx, calib/ and val/ beside this file.

    pip install scikit-learn numpy pillow jax onnx onnxruntime
    python train.py

Takes two to three minutes on two CPU cores. All seeds are fixed; other versions of jax, or another processor,
may still give slightly different weights.

The network is MobileNetV3 in small: inverted residual blocks with depthwise convolutions,
squeeze-and-excite and hard-swish. It is written down once (`network`) in terms of a builder, and there
are two builders: `Trainer` evaluates in jax, `Exporter` writes ONNX nodes.
"""

import csv
import functools
import pathlib
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

HERE = pathlib.Path(__file__).parent
SEED = 0
CALIB, VAL = 128, 500

EPOCHS = 60
BATCH = 64
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.3
SCALE_DECAY = 0.05  # for BatchNorm's scales and shifts, and biases
STOCHASTIC_DEPTH = 0.5  # how often the last block's branch is dropped; linearly less before, the first never
DROPOUT = 0.2
LABEL_SMOOTHING = 0.1

BN_MOMENTUM = 0.95
BN_EPSILON = 1e-3


class Block(NamedTuple):
    kernel: int
    stride: int
    expanded: int
    out: int
    squeezed: int  # channels inside squeeze-and-excite; 0: without it
    act: str


BLOCKS = [
    Block(3, 1, 16, 16, 8, "relu"),
    Block(3, 2, 48, 32, 0, "relu"),
    Block(3, 1, 96, 32, 0, "relu"),
    Block(5, 1, 96, 32, 8, "hard_swish"),
    Block(3, 1, 96, 32, 8, "hard_swish_ops"),
    Block(3, 1, 96, 32, 8, "hard_swish"),
]
STEM, HEAD, HIDDEN, CLASSES = 16, 128, 64, 10


def network(net, image):
    x = conv_bn(net, "stem", image, STEM, 3, act="hard_swish_ops")
    for index, block in enumerate(BLOCKS):
        drop = STOCHASTIC_DEPTH * index / (len(BLOCKS) - 1)
        x = inverted_residual(net, f"block{index + 1}", x, block, drop)
    x = conv_bn(net, "head", x, HEAD, 1, act="hard_swish")
    x = net.flatten("flatten", net.global_pool("pool", x))
    x = net.hard_swish("hidden.act", net.linear("hidden", x, HIDDEN))
    return net.linear("logits", net.dropout(x, DROPOUT), CLASSES)


def inverted_residual(net, name, x, block, drop):
    y = x
    if block.expanded != net.channels(x):
        y = conv_bn(net, f"{name}.expand", y, block.expanded, 1, act=block.act)
    y = conv_bn(
        net, f"{name}.depthwise", y, block.expanded, block.kernel, block.stride, depthwise=True, act=block.act
    )
    if block.squeezed:
        y = squeeze_excite(net, f"{name}.se", y, block.squeezed)
    residual = block.stride == 1 and block.out == net.channels(x)
    # A branch whose last scale starts at 0 grows only as far as it helps.
    y = conv_bn(net, f"{name}.project", y, block.out, 1, scale=0 if residual else 1)
    if residual:
        y = net.add(f"{name}.add", x, y, drop)
    return y


def squeeze_excite(net, name, x, squeezed):
    gate = net.global_pool(f"{name}.pool", x)
    gate = net.relu(f"{name}.relu", net.conv(f"{name}.reduce", gate, squeezed, 1, bias=True))
    gate = net.conv(f"{name}.expand", gate, net.channels(x), 1, bias=True)
    return net.mul(f"{name}.scale", x, net.hard_sigmoid(f"{name}.gate", gate))


def conv_bn(net, name, x, out, kernel, stride=1, depthwise=False, act=None, scale=1):
    x = net.conv(name, x, out, kernel, stride, depthwise)
    x = net.batch_norm(f"{name}.bn", x, scale)
    return getattr(net, act)(f"{name}.act", x) if act else x


class Trainer:
    """Evaluates the network in jax (NHWC), making up parameters that are not there yet.

    Weights have ONNX's layout. With a `key` it is a training step: batch statistics, stochastic depth.
    """

    def __init__(self, params, stats, key=None, init=None):
        self.params, self.stats, self.key, self.rng = params, dict(stats), key, init

    def channels(self, x):
        return x.shape[-1]

    def weight(self, name, shape):
        if self.rng is not None:
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            self.params[name] = jnp.asarray(self.rng.normal(0, deviation, shape), jnp.float32)
        return self.params[name]

    def vector(self, store, name, size, value):
        if self.rng is not None:
            store[name] = jnp.full(size, value, jnp.float32)
        return store[name]

    def conv(self, name, x, out, kernel, stride=1, depthwise=False, bias=False):
        w = self.weight(f"{name}.weight", (out, 1 if depthwise else x.shape[-1], kernel, kernel))
        if kernel == 1:
            y = x @ w[:, :, 0, 0].T
        else:
            pad = kernel // 2
            x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
            height, width = (size - kernel + 1 for size in x.shape[1:3])
            patches = (
                (x[:, i : i + height : stride, j : j + width : stride], w[:, :, i, j])
                for i in range(kernel)
                for j in range(kernel)
            )
            y = sum(patch * tap[:, 0] if depthwise else patch @ tap.T for patch, tap in patches)
        return y + self.vector(self.params, f"{name}.bias", out, 0) if bias else y

    def batch_norm(self, name, x, scale):
        size = x.shape[-1]
        scale = self.vector(self.params, f"{name}.scale", size, scale)
        shift = self.vector(self.params, f"{name}.shift", size, 0)
        mean = self.vector(self.stats, f"{name}.mean", size, 0)
        var = self.vector(self.stats, f"{name}.var", size, 1)
        if self.key is not None:
            batch_mean, batch_var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.stats[f"{name}.mean"] = BN_MOMENTUM * mean + (1 - BN_MOMENTUM) * batch_mean
            self.stats[f"{name}.var"] = BN_MOMENTUM * var + (1 - BN_MOMENTUM) * batch_var
            mean, var = batch_mean, batch_var
        return (x - mean) / jnp.sqrt(var + BN_EPSILON) * scale + shift

    def linear(self, name, x, out):
        w = self.weight(f"{name}.weight", (out, x.shape[-1]))
        return x @ w.T + self.vector(self.params, f"{name}.bias", out, 0)

    def add(self, name, x, branch, drop):
        if self.key is not None:
            self.key, key = jax.random.split(self.key)
            kept = jax.random.bernoulli(key, 1 - drop, (x.shape[0], 1, 1, 1))
            branch = branch * kept / (1 - drop)
        return x + branch

    def dropout(self, x, rate):
        if self.key is None:
            return x
        self.key, key = jax.random.split(self.key)
        return x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate)

    def mul(self, name, x, gate):
        return x * gate

    def global_pool(self, name, x):
        return x.mean((1, 2), keepdims=True)

    def flatten(self, name, x):
        return x.reshape(x.shape[0], -1)

    def relu(self, name, x):
        return jax.nn.relu(x)

    def hard_sigmoid(self, name, x):
        return jnp.clip(x / 6 + 0.5, 0, 1)

    def hard_swish(self, name, x):
        return x * self.hard_sigmoid(name, x)

    hard_swish_ops = hard_swish


class Exporter:
    """Writes the network as ONNX nodes. A value is its name and its number of channels."""

    def __init__(self, tensors):
        self.tensors, self.nodes, self.initializers = tensors, [], {}

    def channels(self, x):
        return x[1]

    def constant(self, name, value=None):
        value = self.tensors[name] if value is None else np.float32(value)
        self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def node(self, op, name, inputs, channels, **attributes):
        output = name if name == "logits" else f"{name}.out"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output, channels

    def conv(self, name, x, out, kernel, stride=1, depthwise=False, bias=False):
        inputs = [x[0], self.constant(f"{name}.weight")]
        if bias:
            inputs.append(self.constant(f"{name}.bias"))
        return self.node(
            "Conv",
            name,
            inputs,
            out,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=out if depthwise else 1,
        )

    def batch_norm(self, name, x, scale):
        constants = [self.constant(f"{name}.{kind}") for kind in ("scale", "shift", "mean", "var")]
        return self.node("BatchNormalization", name, [x[0], *constants], x[1], epsilon=BN_EPSILON)

    def linear(self, name, x, out):
        inputs = [x[0], self.constant(f"{name}.weight"), self.constant(f"{name}.bias")]
        return self.node("Gemm", name, inputs, out, transB=1)

    def add(self, name, x, branch, drop):
        return self.node("Add", name, [x[0], branch[0]], x[1])

    def dropout(self, x, rate):
        return x

    def mul(self, name, x, gate):
        return self.node("Mul", name, [x[0], gate[0]], x[1])

    def global_pool(self, name, x):
        return self.node("GlobalAveragePool", name, [x[0]], x[1])

    def flatten(self, name, x):
        return self.node("Flatten", name, [x[0]], x[1])

    def relu(self, name, x):
        return self.node("Relu", name, [x[0]], x[1])

    def hard_sigmoid(self, name, x):
        return self.node("HardSigmoid", name, [x[0]], x[1], alpha=1 / 6, beta=0.5)

    def hard_swish(self, name, x):
        return self.node("HardSwish", name, [x[0]], x[1])

    def hard_swish_ops(self, name, x):
        """Hard-swish as exporters write it before opset 14: x * clip(x + 3, 0, 6) / 6."""
        zero, three, six = (self.constant(*pair) for pair in (("zero", 0), ("three", 3), ("six", 6)))
        y = self.node("Add", f"{name}.add", [x[0], three], x[1])
        y = self.node("Clip", f"{name}.clip", [y[0], zero, six], x[1])
        y = self.node("Mul", f"{name}.mul", [x[0], y[0]], x[1])
        return self.node("Div", f"{name}.div", [y[0], six], x[1])


def train(images, labels):
    """Trains with AdamW and a cosine schedule; returns all tensors by name."""
    rng = np.random.default_rng(SEED)
    params, stats = {}, {}
    trainer = Trainer(params, stats, init=rng)
    network(trainer, images[:1])
    state = (params, trainer.stats, *(jax.tree.map(jnp.zeros_like, params) for _ in range(2)))

    steps_per_epoch = len(images) // BATCH
    steps = EPOCHS * steps_per_epoch
    for step in range(steps):
        if step % steps_per_epoch == 0:
            order = rng.permutation(len(images))
        batch = order[step % steps_per_epoch * BATCH :][:BATCH]
        x = np.stack([augment(image, rng) for image in images[batch]])
        state, loss = update(state, step, steps, x, labels[batch])
        if (step + 1) % (steps // 10) == 0:
            print(f"step {step + 1} of {steps}: loss {loss:.4f}", flush=True)
    params, stats, *_ = state
    return {name: np.asarray(value) for name, value in (params | stats).items()}


@functools.partial(jax.jit, static_argnums=2)
def update(state, step, steps, x, labels):
    params, stats, first, second = state
    key = jax.random.fold_in(jax.random.key(SEED), step)
    (loss, stats), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, stats, key, x, labels)
    warm_up = jnp.minimum(1, (step + 1) / (0.05 * steps))
    rate = LEARNING_RATE * warm_up * (1 + jnp.cos(jnp.pi * step / steps)) / 2
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, gradient)

    def moved(p, m, v):
        m, v = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.99 ** (step + 1))
        decay = WEIGHT_DECAY if p.ndim > 1 else SCALE_DECAY
        return p - rate * (m / (jnp.sqrt(v) + 1e-8) + decay * p)

    return (jax.tree.map(moved, params, first, second), stats, first, second), loss


def loss_of(params, stats, key, x, labels):
    trainer = Trainer(params, stats, key)
    log_probabilities = jax.nn.log_softmax(network(trainer, x))
    targets = jax.nn.one_hot(labels, CLASSES) * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / CLASSES
    return -(targets * log_probabilities).sum(1).mean(), trainer.stats


def augment(image, rng):
    """Shifts by up to one pixel."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    row, column = rng.integers(0, 3, 2)
    return padded[row:, column:][: image.shape[0], : image.shape[1]]


def export(tensors, height, width):
    exporter = Exporter(tensors)
    network(exporter, ("image", 1))
    graph = helper.make_graph(
        exporter.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, height, width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        list(exporter.initializers.values()),
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="digits"
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / "model.onnx")


def write_images(folder, pixels):
    shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / folder).mkdir()
    files = [f"{index:03}.png" for index in range(len(pixels))]
    for file, image in zip(files, pixels):
        Image.fromarray(image).save(HERE / folder / file, optimize=True)
    return files


def accuracy(images, labels):
    """Of the file that was written, in onnxruntime; pixels are scaled to 0..1."""
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": images.transpose(0, 3, 1, 2)})
    return (logits.argmax(1) == labels).mean()


def main():
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.images))
    pixels = np.round(digits.images[order] * 255 / 16).astype(np.uint8)
    images = (pixels[..., None] / 255).astype(np.float32)
    labels = digits.target[order]
    calib, val, rest = np.split(np.arange(len(order)), [CALIB, CALIB + VAL])

    write_images("calib", pixels[calib])
    files = write_images("val", pixels[val])
    with open(HERE / "val" / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "label"])
        rows.writerows(zip(files, labels[val]))

    tensors = train(images[rest], labels[rest])
    export(tensors, *pixels.shape[1:])
    for name, part in (("training", rest), ("val", val)):
        print(f"accuracy on {name}: {accuracy(images[part], labels[part]):.4f}")


if __name__ == "__main__":
    main()
