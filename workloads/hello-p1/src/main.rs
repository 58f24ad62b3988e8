//! The same greeting as a core module for WASI preview 1, to show that older modules run unchanged.

fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "world".to_owned());
    println!("hello from preview 1, {name}");
}
