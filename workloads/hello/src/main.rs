//! Prints a greeting to whoever its first argument names, and exits with 0: the smallest `wasi:cli/run` component.

fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "world".to_owned());
    println!("hello, {name}");
}
