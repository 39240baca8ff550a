//! `sillon pki`, as it is called.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use sillon::identity::{Identity, NoIdentity};
use x509_parser::{
    pem::parse_x509_pem,
    prelude::{CertificateRevocationList, FromDer, X509Certificate},
};

/// A directory with a CA in it.
struct Ca(tempfile::TempDir);

impl Ca {
    fn new() -> Self {
        let ca = Self(tempfile::tempdir().unwrap());
        ca.done("init --fabric north");
        ca
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `sillon pki LINE` in the CA's directory.
    fn run(&self, line: &str) -> Output {
        command(self.0.path(), line).output().unwrap()
    }

    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// It was refused as a wrong input, and this is what was said.
    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn shown(&self, line: &str) -> Vec<Value> {
        serde_json::from_str(&self.done(&format!("show --json {line}"))).unwrap()
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// The serial numbers on the revocation list, whose signature is right.
    fn revoked(&self) -> Vec<String> {
        let text = fs::read(self.path("pki/crl.pem")).unwrap();
        let (_, pem) = parse_x509_pem(&text).unwrap();
        let (_, list) = CertificateRevocationList::from_der(&pem.contents).unwrap();
        let ca = self.certificate("pki/ca.crt");
        let (_, ca) = X509Certificate::from_der(&ca).unwrap();
        list.verify_signature(ca.public_key()).unwrap();
        list.iter_revoked_certificates()
            .map(|revoked| revoked.raw_serial_as_string().replace(':', ""))
            .collect()
    }
}

fn command(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sillon"));
    command
        .current_dir(dir)
        .env("SILLON_PKI", "pki")
        .arg("pki")
        .args(line.split_whitespace())
        .env_remove("RUST_LOG");
    command
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_ca_keeps_its_key_to_itself_and_is_never_overwritten() {
    let ca = Ca::new();
    assert_eq!(mode(&ca.path("pki")), 0o700);
    assert_eq!(mode(&ca.path("pki/ca.key")), 0o600);
    let before = fs::read(ca.path("pki/ca.key")).unwrap();
    assert!(ca.refused("init").contains("not overwritten"));
    assert_eq!(fs::read(ca.path("pki/ca.key")).unwrap(), before);
    assert_eq!(ca.revoked(), Vec::<String>::new());
}

#[test]
fn an_identity_is_good_for_a_client_and_a_controller_for_a_server() {
    let ca = Ca::new();
    ca.done("issue operator/alder");
    ca.done("issue controller/c1 --dns c1.example --ip 192.0.2.1 --ip 2001:db8::1");
    assert_eq!(mode(&ca.path("operator-alder.key")), 0o600);

    let alder = ca.certificate("operator-alder.crt");
    assert_eq!(Identity::of_certificate(&alder).unwrap().to_string(), "operator/alder");
    let (_, alder) = X509Certificate::from_der(&alder).unwrap();
    let usage = alder.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !alder.is_ca());
    assert!(alder.raw_serial().len() == 16);

    let c1 = ca.certificate("controller-c1.crt");
    assert_eq!(Identity::of_certificate(&c1), Err(NoIdentity::Missing));
    let (_, c1) = X509Certificate::from_der(&c1).unwrap();
    let usage = c1.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    assert_eq!(c1.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 3);
}

#[test]
fn nodes_have_a_week_and_others_a_month_unless_something_else_is_said() {
    let ca = Ca::new();
    let days = |name: &str| {
        let certificate = ca.certificate(name);
        let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
        // Five minutes are for clocks that are behind.
        (certificate.validity().not_after - certificate.validity().not_before)
            .unwrap()
            .whole_minutes()
            - 5
    };
    ca.done("issue node/edge1");
    ca.done("issue owner");
    ca.done("issue auditor --hours 3");
    assert_eq!(days("node-edge1.crt"), 7 * 24 * 60);
    assert_eq!(days("owner.crt"), 30 * 24 * 60);
    assert_eq!(days("auditor.crt"), 180);
    assert!(ca.refused("issue node/edge2 --days 4000").contains("outlive"));
    assert!(!ca.path("node-edge2.crt").exists());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let ca = Ca::new();
    assert!(
        ca.refused("issue operator/alder --dns alder.example").contains("controller/NAME only")
    );
    assert!(ca.refused("issue controller/c1").contains("--dns"));
    assert!(ca.refused("issue controller/c1 --dns not_a..name").contains("no DNS name"));
    assert!(ca.refused("issue root").contains("no identity"));
    assert!(ca.refused("issue operator/../owner").contains("operator"));
    assert!(ca.refused("revoke operator/alder").contains("nothing was issued"));
    assert!(ca.refused("revoke 1234").contains("not issued"));
    assert!(ca.refused("revoke ./nowhere").contains("no file"));
    assert!(ca.refused("show --dir elsewhere").contains("init"));
    assert!(ca.shown("").is_empty());
}

#[test]
fn a_certificate_is_not_overwritten_but_renewed_with_a_new_key() {
    let ca = Ca::new();
    ca.done("issue node/edge1 --hours 5");
    let (first, key) =
        (ca.certificate("node-edge1.crt"), fs::read(ca.path("node-edge1.key")).unwrap());
    assert!(ca.refused("issue node/edge1").contains("renew"));
    assert!(ca.done("renew node-edge1.crt --if-due").contains("need not"));
    assert_eq!(ca.certificate("node-edge1.crt"), first);

    ca.done("renew node-edge1.crt");
    let second = ca.certificate("node-edge1.crt");
    assert_ne!(fs::read(ca.path("node-edge1.key")).unwrap(), key);
    assert_eq!(mode(&ca.path("node-edge1.key")), 0o600);
    assert_eq!(Identity::of_certificate(&second), Identity::of_certificate(&first));
    let shown = ca.shown("node/edge1");
    assert_eq!(shown.len(), 2);
    let hours = |index: usize| {
        let time =
            |what: &str| shown[index][what].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        time("until").duration_since(time("from")).as_hours()
    };
    assert_eq!((hours(0), hours(1)), (5, 5));
    assert_ne!(shown[0]["serial"], shown[1]["serial"]);
}

#[test]
fn a_request_brings_its_key_and_nothing_else() {
    let ca = Ca::new();
    // alder asks to be the owner.
    ca.done("request owner");
    ca.done("issue operator/alder --csr owner.csr");
    let certificate = ca.certificate("operator-alder.crt");
    assert_eq!(Identity::of_certificate(&certificate).unwrap().to_string(), "operator/alder");
    assert!(!ca.path("operator-alder.key").exists());
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(ca.path("owner.key")).unwrap()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
    assert_eq!(parsed.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));

    // A request that was changed on its way is not signed by its key any more.
    let text = fs::read_to_string(ca.path("owner.csr")).unwrap();
    let place = text.len() / 2;
    let other = if text.as_bytes()[place] == b'A' { "B" } else { "A" };
    fs::write(ca.path("bad.csr"), format!("{}{other}{}", &text[..place], &text[place + 1..]))
        .unwrap();
    assert!(ca.refused("issue operator/birch --csr bad.csr").contains("can't be used"));
}

#[test]
fn revoking_again_changes_nothing_and_a_renewal_of_what_was_revoked_is_refused() {
    let ca = Ca::new();
    ca.done("issue operator/alder --out one");
    ca.done("issue operator/alder --out two");
    ca.done("issue operator/birch");
    let serials = |subject: &str| -> Vec<String> {
        let shown = ca.shown(subject);
        shown.iter().map(|record| record["serial"].as_str().unwrap().to_owned()).collect()
    };
    let alder = serials("operator/alder");

    ca.done(&format!("revoke {}", alder[0].to_uppercase()));
    assert_eq!(ca.revoked(), alder[..1]);
    let when = ca.shown("operator/alder")[0]["revoked"].clone();
    assert!(ca.done(&format!("revoke {}", alder[0])).contains("nothing to revoke"));
    assert_eq!(ca.shown("operator/alder")[0]["revoked"], when);

    // All of alder's that are left, and not birch's.
    ca.done("revoke operator/alder");
    assert_eq!(ca.revoked(), alder);
    assert!(ca.refused("renew two/operator-alder.crt").contains("was revoked"));
    ca.done("revoke operator-birch.crt");
    assert_eq!(ca.revoked().len(), 3);
    ca.done("refresh");
    assert_eq!(ca.revoked().len(), 3);
}

#[test]
fn another_cas_certificate_is_not_ours_to_revoke_or_renew() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    theirs.done("issue operator/alder");
    let file = theirs.path("operator-alder.crt");
    for line in ["revoke", "renew"] {
        let output = ours.run(&format!("{line} {}", file.display()));
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("it was issued by"), "{output:?}");
    }
    assert_eq!(ours.revoked(), Vec::<String>::new());
}

#[test]
fn commands_at_the_same_time_wait_for_each_other() {
    let ca = Ca::new();
    let children: Vec<_> = (0..12)
        .map(|number| command(ca.0.path(), &format!("issue node/edge{number}")).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(ca.shown("").len(), 12);
    assert_eq!(fs::read_dir(ca.path("pki")).unwrap().count(), 5, "nothing is left behind");
}

#[test]
fn who_may_not_look_into_a_ca_is_told_so_and_not_that_there_is_none() {
    let ca = Ca::new();
    ca.done("issue node/edge1");
    fs::set_permissions(ca.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = |line: &str| {
        let output = command(ca.0.path(), line).uid(65534).gid(65534).output().unwrap();
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    };
    for line in ["show", "issue node/edge2", "refresh", "revoke pki/ca.crt"] {
        let said = as_nobody(line);
        assert!(said.contains("Permission denied") && !said.contains("no CA"), "{line}: {said}");
    }
    fs::write(ca.path("file"), "x").unwrap();
    fs::create_dir(ca.path("empty")).unwrap();
    for (dir, reason) in [
        ("none", "none is not there"),
        ("empty", "empty has no CA in it"),
        ("file", "Not a directory"),
    ] {
        let output = ca.run(&format!("show --dir {dir}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(reason), "{dir}: {said}");
    }
}
