//! The program behind `cargo xtask fuzz`: libFuzzer's own `main` around the target that `FUZZ_TARGET` names. Built without
//! `--cfg fuzzing` it only runs the files given to it, which a debugger likes better.
#![cfg_attr(fuzzing, no_main)]

/// The target that `FUZZ_TARGET` names.
fn chosen() -> &'static fuzz::Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET must name one of {names:?}, not {name:?}")
    })
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(
    init: {
        // Seeds are code, not files in the repository: they are written before libFuzzer reads its folders.
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            for (number, seed) in (chosen().seeds)().into_iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("seed-{number:03}"));
                std::fs::write(&path, seed).expect("the folder for seeds can be written");
            }
        }
    },
    |data: &[u8]| run(data)
);

#[cfg(fuzzing)]
fn run(data: &[u8]) {
    static RUN: std::sync::OnceLock<fn(&[u8])> = std::sync::OnceLock::new();
    RUN.get_or_init(|| chosen().run)(data);
}

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        (chosen().run)(&std::fs::read(path)?);
    }
    Ok(())
}
