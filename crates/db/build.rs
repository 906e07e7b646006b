//! Rebuilds the crate when a migration is added: `sqlx::migrate!` does not notice by itself.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
