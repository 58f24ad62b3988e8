//! Prints its arguments and its environment, sorted, one per line, and exits with 0.

fn main() {
    for (index, argument) in std::env::args().enumerate() {
        println!("arg {index} {argument}");
    }
    let mut variables: Vec<_> = std::env::vars().collect();
    variables.sort();
    for (name, value) in variables {
        println!("env {name}={value}");
    }
}
