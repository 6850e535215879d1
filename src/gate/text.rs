//! What a person sees: a rendering of a command that cannot deceive.

/// Placeholder until the rendering lands.
pub fn render(text: &str) -> String {
    text.escape_debug().to_string()
}
