use super::*;

#[test]
fn embedded() {
    let t = std::time::Instant::now();
    let c = match Catalogue::embedded() { Ok(c) => c, Err(e) => panic!("{e}") };
    panic!("{:?} {}", t.elapsed(), c.iter().count());
}
