//! Every way in which GitHub can fail: each has words of its own, and none stops the node.

use super::stand_in::refusal;
use super::*;
use std::net::TcpListener;
use wiremock::ResponseTemplate;

async fn failing(fault: ResponseTemplate) -> (SourceError, StandIn, MockServer, Github) {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let mut ours = registry(options(&server));
    visit(&mut ours).await;
    stand_in.fail_with(fault);
    let error = ours.visit(&card(A)).await.unwrap_err();
    (error, stand_in, server, ours)
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_told_and_not_shown() {
    let (error, stand_in, _server, mut ours) = failing(refusal(401, "Bad credentials")).await;
    assert!(matches!(error, SourceError::Refused(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("401") && text.contains("Bad credentials") && text.contains("give a valid one"),
        "{text}"
    );
    assert!(!text.contains("ghp_secret"), "{text}");
    stand_in.recover();
    assert!(ours.visit(&card(A)).await.is_ok(), "it goes on when that is repaired");
}

#[tokio::test]
async fn what_is_not_allowed_says_which_permission_is_missing() {
    let (error, ..) = failing(refusal(403, "Resource not accessible by integration")).await;
    assert!(matches!(error, SourceError::Refused(_)), "{error}");
    assert!(error.to_string().contains("write permission for issues"), "{error}");
}

#[tokio::test]
async fn a_repository_that_is_not_there_or_hidden_is_told() {
    let (error, stand_in, _server, mut ours) = failing(refusal(404, "Not Found")).await;
    assert!(matches!(error, SourceError::Refused(_)), "{error}");
    assert!(error.to_string().contains("check owner/name"), "{error}");
    stand_in.recover();
    stand_in.asked();
    ours.visit(&card(A)).await.unwrap();
    let asked = stand_in.asked();
    assert!(asked[0].starts_with("GET /repos/octo/mesh/issues?"), "the issue is looked for again: {asked:?}");
}

#[tokio::test]
async fn a_rate_limit_is_obeyed_for_as_long_as_it_says() {
    // Reset at GitHub's time, ten minutes from its present.
    let reset = (NOW.0 / 1_000 + 600).to_string();
    let fault = refusal(403, "API rate limit exceeded for user ID 1.")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", reset.as_str());
    let (error, stand_in, _server, mut ours) = failing(fault).await;
    let SourceError::RateLimited { problem, retry_after } = error else { panic!("{error}") };
    assert!(problem.contains("API rate limit exceeded"), "{problem}");
    assert!((595..=601).contains(&retry_after.as_secs()), "{retry_after:?}");
    stand_in.recover();
    stand_in.asked();
    let error = ours.visit(&card(A)).await.unwrap_err();
    assert!(matches!(error, SourceError::RateLimited { .. }), "{error}");
    assert!(ours.withdraw(&card(A)).await.is_err());
    assert!(stand_in.asked().is_empty(), "nobody is asked while the limit lasts, whoever wants to know");
}

#[tokio::test]
async fn a_secondary_limit_says_itself_when_to_come_back() {
    for fault in [
        refusal(403, "You have exceeded a secondary rate limit.").insert_header("retry-after", "33"),
        refusal(429, "Too many requests").insert_header("retry-after", "33"),
    ] {
        let (error, ..) = failing(fault).await;
        let SourceError::RateLimited { retry_after, .. } = error else { panic!("{error}") };
        assert_eq!(retry_after, Duration::from_secs(33));
    }
    let (error, ..) = failing(refusal(403, "You have exceeded a secondary rate limit.")).await;
    let SourceError::RateLimited { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Duration::from_secs(60));
}

#[tokio::test]
async fn a_limit_that_would_last_for_years_is_not_believed() {
    let (error, ..) = failing(refusal(429, "no").insert_header("retry-after", "99999999999")).await;
    let SourceError::RateLimited { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Duration::from_secs(7_200));
}

#[tokio::test]
async fn a_github_in_trouble_is_tried_again_later() {
    for status in [500, 502, 503] {
        let (error, stand_in, _server, mut ours) = failing(refusal(status, "Unicorn!")).await;
        assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        stand_in.recover();
        assert!(ours.visit(&card(A)).await.is_ok());
    }
}

#[tokio::test]
async fn a_github_that_does_not_answer_in_time_holds_up_nobody() {
    let (server, stand_in) = start().await;
    stand_in.fail_with(ResponseTemplate::new(200).set_delay(Duration::from_secs(600)));
    let within = Duration::from_millis(300);
    let mut ours = registry(GithubOptions { request_deadline: within, ..options(&server) });
    assert_eq!(ours.visit(&card(A)).await.unwrap_err(), SourceError::Timeout(within));
    let mut ours = registry(GithubOptions { deadline: within, ..options(&server) });
    assert_eq!(ours.visit(&card(A)).await.unwrap_err(), SourceError::Timeout(within));
}

#[tokio::test]
async fn a_node_that_is_offline_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = GithubOptions { base_url: base_url.clone(), ..GithubOptions::for_repository("octo/mesh") };
    let error = registry(options).visit(&card(A)).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains(&base_url) && error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn answers_that_are_no_json_or_no_list_are_told() {
    for answer in ["<html>hello</html>", "", "7", "{\"message\": \"hello\"}"] {
        let (error, ..) = failing(ResponseTemplate::new(200).set_body_string(answer)).await;
        assert!(matches!(error, SourceError::Malformed(_)), "{answer}: {error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (error, ..) = failing(ResponseTemplate::new(200).set_body_string("x".repeat(17 * 1024 * 1024))).await;
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test]
async fn a_token_that_may_only_read_still_finds_others() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    stand_in.comment(&python(B, "runner-7"), 60);
    let mut ours = registry(options(&server));
    let fault = refusal(403, "Resource not accessible by personal access token");
    stand_in.with(|state| state.fault_of_writes = Some(fault));
    assert_eq!(visit(&mut ours).await, [B]);
    stand_in.with(|state| state.comments.clear());
    let error = ours.visit(&card(A)).await.unwrap_err();
    assert!(
        error.to_string().contains("write permission for issues"),
        "nobody is found: then it is told: {error}"
    );
}
