//! The registry at GitHub itself. It writes and deletes a comment, so it runs only when somebody names a repository for
//! it: `MESHWORK_GITHUB_LIVE=owner/name` and a token in `GITHUB_TOKEN`.

use super::*;

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

#[tokio::test]
async fn two_nodes_find_one_another_at_github() {
    let (Some(repository), Some(token)) = (variable("MESHWORK_GITHUB_LIVE"), variable("GITHUB_TOKEN")) else {
        eprintln!(
            "SKIPPED: set MESHWORK_GITHUB_LIVE=owner/name and GITHUB_TOKEN to try the registry at GitHub itself"
        );
        return;
    };
    let node = || {
        let options =
            GithubOptions { token: GithubToken::new(&token), ..GithubOptions::for_repository(&repository) };
        Github::new(options, Clock::system()).unwrap()
    };
    let (mut one, mut two) = (node(), node());
    one.visit(&card(A)).await.unwrap();
    let found = two.visit(&card(B)).await.unwrap();
    assert!(found.iter().any(|found| found.peer.as_ref() == Some(&card(A).peer)), "{found:?}");
    one.withdraw(&card(A)).await.unwrap();
    let found = two.visit(&card(B)).await.unwrap();
    two.withdraw(&card(B)).await.unwrap();
    assert!(found.iter().all(|found| found.peer.as_ref() != Some(&card(A).peer)), "{found:?}");
}
