//! Has the linker keep what the program uses, and nothing else.

fn main() {
    for argument in ["--entry=_start", "--gc-sections", "--nmagic"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
