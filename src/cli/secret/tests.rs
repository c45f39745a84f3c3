//! The file as the commands leave it, and what they refuse.

use super::file::{SecretFile, fingerprint};
use super::*;
use crate::output::ColorChoice;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const OLD: &str = "old secret of the mesh";
const NEW: &str = "new secret of the mesh";

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(text: &str) -> Self {
        let dir = Self::new();
        std::fs::write(dir.path(), text).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        dir
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("mesh.secret")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn run(&self, command: impl FnOnce(SecretPlace) -> SecretCommand) -> Result<(), Failure> {
        self.run_in(command, &Environment::default())
    }

    fn run_in(
        &self,
        command: impl FnOnce(SecretPlace) -> SecretCommand,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let node = Place { data_dir: Some(self.0.path().to_str().unwrap().into()), config: None };
        let place = SecretPlace { node, mesh_secret_file: None };
        execute(&command(place), Output::new(true, ColorChoice::Never, environment), environment)
    }
}

fn add(secret: &str) -> impl FnOnce(SecretPlace) -> SecretCommand {
    let secret = Some(GivenSecret(secret.into()));
    |place| SecretCommand::Add { secret, place }
}

fn retire(place: SecretPlace) -> SecretCommand {
    SecretCommand::Retire { place }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_secret_is_changed_in_two_steps_and_comments_stay() {
    let dir = Dir::with(&format!("# of the office\n{OLD}\n"));
    dir.run(add(NEW)).unwrap();
    assert_eq!(dir.text(), format!("# of the office\n{NEW}\n{OLD}\n"));
    assert_eq!(mode(&dir.path()), 0o600);
    dir.run(retire).unwrap();
    assert_eq!(dir.text(), format!("# of the office\n{NEW}\n"));
    assert_eq!(mode(&dir.path()), 0o600);
    dir.run(retire).unwrap();
    assert_eq!(std::fs::read_dir(dir.0.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_secret_that_is_there_moves_to_the_front_and_is_not_entered_twice() {
    let dir = Dir::with(&format!("{NEW}\n{OLD}\n"));
    dir.run(add(OLD)).unwrap();
    dir.run(add(OLD)).unwrap();
    assert_eq!(dir.text(), format!("{OLD}\n{NEW}\n"));
}

#[test]
fn without_a_file_the_first_secret_is_made_and_the_node_will_use_it() {
    let dir = Dir::new();
    let failure = dir.run(|place| SecretCommand::List { place }).unwrap_err();
    assert_eq!(failure.exit(), Exit::NotFound);
    dir.run(|place| SecretCommand::Add { secret: None, place }).unwrap();
    assert_eq!(mode(&dir.path()), 0o600);
    let file = SecretFile::read(&dir.path()).unwrap().unwrap();
    assert_eq!(file.secrets().len(), 1);
    let loaded = MeshSecret::parse(&dir.text()).unwrap();
    assert_eq!(fingerprint(file.secrets()[0]), fingerprint(&loaded));
    dir.run(|place| SecretCommand::List { place }).unwrap();
}

#[test]
fn a_fingerprint_is_the_beginning_of_the_sha_256() {
    let secret = MeshSecret::parse("correct horse battery staple").unwrap();
    assert_eq!(fingerprint(&secret), "c4bbcb1f");
}

#[test]
fn a_node_accepts_only_a_few_at_a_time() {
    let dir = Dir::new();
    for n in 0..4 {
        dir.run(add(&format!("secret number {n} of four"))).unwrap();
    }
    let before = dir.text();
    let failure = dir.run(add(NEW)).unwrap_err();
    assert!(failure.render(false).unwrap().contains("secret retire"), "{failure:?}");
    assert_eq!((failure.exit(), dir.text()), (Exit::Usage, before));
}

#[test]
fn what_is_no_secret_or_no_private_file_is_refused_without_being_quoted() {
    let dir = Dir::with(&format!("{OLD}\nshort\n"));
    let failure = dir.run(add(NEW)).unwrap_err();
    assert!(failure.render(false).unwrap().contains("line 2"), "{failure:?}");
    let dir = Dir::with("# nothing\n");
    assert!(dir.run(retire).unwrap_err().render(false).unwrap().contains("has no secret"));
    let dir = Dir::with(OLD);
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let failure = dir.run(|place| SecretCommand::List { place }).unwrap_err();
    assert!(failure.render(false).unwrap().contains("chmod 600"), "{failure:?}");
    let failure = Dir::new().run(add("too short")).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(!format!("{failure:?}{:?}", GivenSecret(OLD.into())).contains("too short"));
    assert!(!format!("{:?}", GivenSecret(OLD.into())).contains("old secret"));
}

#[test]
fn a_secret_in_the_configuration_itself_has_no_file_to_change() {
    let environment = Environment::of([("MESHWORK_MESH_SECRET", OLD)]);
    let failure = Dir::new().run_in(add(NEW), &environment).unwrap_err();
    let text = failure.render(false).unwrap();
    assert!(text.contains("env MESHWORK_MESH_SECRET") && text.contains("mesh_secret_file"), "{text}");
    assert!(!text.contains(OLD), "{text}");
}

#[test]
fn an_invitation_that_would_bring_the_old_secret_back_is_in_the_way() {
    let invitation = meshwork_proto::invite::Invitation {
        peer: "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap(),
        addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()],
        secret: OLD.as_bytes().to_vec(),
    };
    let text = invitation.to_text().unwrap();
    let environment = Environment::of([("MESHWORK_JOIN", text.as_str())]);
    let dir = Dir::with(&format!("{NEW}\n{OLD}\n"));
    let failure = dir.run_in(retire, &environment).unwrap_err();
    assert!(failure.render(false).unwrap().contains("p2p.join"), "{failure:?}");
    assert!(dir.text().contains(OLD), "nothing was changed");
}

#[test]
fn a_link_stays_a_link_and_what_it_points_at_is_replaced() {
    let dir = Dir::with(OLD);
    let real = dir.0.path().join("real");
    std::fs::rename(dir.path(), &real).unwrap();
    std::os::unix::fs::symlink(&real, dir.path()).unwrap();
    dir.run(add(NEW)).unwrap();
    assert!(std::fs::symlink_metadata(dir.path()).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(real).unwrap(), format!("{NEW}\n{OLD}\n"));
}

#[test]
fn standard_input_is_read_up_to_a_limit() {
    assert_eq!(read(NEW.as_bytes()).unwrap(), NEW);
    let long = vec![b'x'; 9_000];
    assert_eq!(read(&long[..]).unwrap_err().exit(), Exit::Usage);
    assert_eq!(read(&[0xff, 0xfe][..]).unwrap_err().exit(), Exit::Usage);
}
