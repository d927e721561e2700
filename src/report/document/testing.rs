//! What every page and picture has to be.

/// Elements without an end.
const VOID: &[&str] = &["meta", "wbr", "!DOCTYPE"];

/// Why markup is not well formed: its tags nest, its attributes are quoted, text holds no `<`.
pub(super) fn flaw(markup: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>')?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Some(format!("`{name}` ends inside of `{open:?}`"));
            }
            continue;
        }
        let (name, attributes) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
        if attributes.matches('"').count() % 2 != 0 || attributes.contains('<') {
            return Some(format!("`{tag}` is no tag"));
        }
        if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
        // What these hold is no markup.
        if matches!(name, "script" | "style") {
            let end = format!("</{name}>");
            let (_, after) = rest.split_once(&end)?;
            rest = after;
            open.pop();
        }
    }
    (!open.is_empty()).then(|| format!("`{open:?}` never end"))
}

#[test]
fn flaws_are_found() {
    assert_eq!(flaw("<p class=\"a\">x<wbr>y<br/></p><script>1 < 2</script>"), None);
    assert_eq!(flaw("<p><b></p>").as_deref(), Some("`p` ends inside of `[\"p\"]`"));
    assert_eq!(flaw("<p>").as_deref(), Some("`[\"p\"]` never end"));
    assert_eq!(flaw("<p a=\"x\"y\">").as_deref(), Some("`p a=\"x\"y\"` is no tag"));
}
