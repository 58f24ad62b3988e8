//! The one executable of Dunlin: parses the command line, starts logging, runs the command, answers with its exit code.

#![deny(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

mod age;
mod amount;
mod api;
mod builder;
mod client;
mod command;
mod context;
mod conversation;
mod daemon;
mod document;
mod failure;
mod jsonpath;
mod links;
mod manifest;
mod merge;
mod resource;
mod session;
mod static_pods;
mod sys;
mod table;
mod tabs;
mod terminal;
mod workload;

fn main() -> ExitCode {
    // One such process per pod: nothing of the rest may begin, or it costs each of them its memory.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "shim") {
        return dunlin_edge_node::shim::main(words);
    }
    sys::look_names_up_without_modules();
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(error),
    };
    arguments.command.run(&arguments.connection, arguments.verbosity)
}
