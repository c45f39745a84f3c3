//! Names of upstream tools as the mesh knows them: `<server>__<tool>`, only characters that every client takes.

use meshwork_proto::Cid;

/// Longest name.
pub(super) const MAX: usize = 64;
/// Characters of the digest that tells changed names apart.
const DIGEST: usize = 8;

/// The name of a server's tool. The same server and tool always give the same name, and different ones different names:
/// a name that had to be changed (other characters, too long) ends with a digest of what it was.
pub(super) fn mesh_name(server: &str, tool: &str) -> String {
    let wanted = format!("{server}__{tool}");
    let plain: String = wanted
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .collect();
    if plain == wanted && plain.len() <= MAX {
        return plain;
    }
    let digest = Cid::of(wanted.as_bytes()).to_string();
    let digest = digest.get(digest.len().saturating_sub(DIGEST)..).unwrap_or(&digest);
    let kept = plain.get(..plain.len().min(MAX - DIGEST - 1)).unwrap_or(&plain);
    format!("{kept}_{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usable_name_is_kept() {
        assert_eq!(mesh_name("git", "git_status"), "git__git_status");
    }

    #[test]
    fn other_names_are_changed_always_in_the_same_way_and_stay_different() {
        let names = [
            mesh_name("web", "get.page"),
            mesh_name("web", "get/page"),
            mesh_name("web", "get page"),
            mesh_name("web", "get_page"),
            mesh_name("web", &"x".repeat(100)),
            mesh_name("web", &"x".repeat(101)),
            mesh_name("web", "страница"),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        for name in &names {
            assert!(name.len() <= MAX && name.starts_with("web__"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{name}");
        }
        assert_eq!(names[0], mesh_name("web", "get.page"));
    }
}
