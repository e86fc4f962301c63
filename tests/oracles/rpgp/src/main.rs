//! What another implementation of OpenPGP says: `oracle-rpgp CERTIFICATE SIGNATURE FILE`, all armoured but FILE. Prints
//! version and algorithm of the key that made the signature; exit code 1 and a reason when it does not hold.

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::types::KeyDetails as _;
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, signature, file] = arguments.as_slice() else {
        eprintln!("usage: oracle-rpgp CERTIFICATE SIGNATURE FILE");
        return ExitCode::from(2);
    };
    match check(certificate, signature, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

fn check(certificate: &str, signature: &str, file: &str) -> Result<(), Failure> {
    let (key, _) = SignedPublicKey::from_armor_single(std::fs::File::open(certificate)?)?;
    key.verify_bindings()?;
    let (signature, _) = DetachedSignature::from_armor_single(std::fs::File::open(signature)?)?;
    signature.verify(&key, &std::fs::read(file)?)?;
    let primary = &key.primary_key;
    println!("{:?} {:?}", primary.version(), primary.algorithm());
    Ok(())
}
