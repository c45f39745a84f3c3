//! The detection against services on loopback.

use super::*;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const PATIENCE: Duration = Duration::from_secs(20);

/// A service of its own for each answer. The tests' own TLS-free services stand for those of the internet.
async fn service(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(path("/ip")).respond_with(answer).mount(&server).await;
    server
}

fn says(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(text)
}

fn port(services: Vec<String>, timeout: Duration) -> Port<GetPublicIp> {
    let options = PublicIpOptions { services, timeout, ..PublicIpOptions::default() };
    serve(&Handle::current(), options)
}

fn urls(servers: &[&MockServer]) -> Vec<String> {
    servers.iter().map(|server| format!("{}/ip", server.uri())).collect()
}

async fn get(port: &Port<GetPublicIp>, refresh: bool) -> Result<PublicIp, PublicIpError> {
    port.ask(GetPublicIp { refresh }, PATIENCE).await.unwrap()
}

async fn asked(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

/// A port on which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/ip", listener.local_addr().unwrap())
}

#[tokio::test]
async fn what_two_services_agree_on_is_the_address_and_the_third_is_outvoted() {
    let (one, two, liar) = (
        service(says("93.184.216.34\n")).await,
        service(says("93.184.216.34")).await,
        service(says("8.8.8.8")).await,
    );
    let services = urls(&[&one, &two, &liar]);
    let found = get(&port(services.clone(), Duration::from_secs(5)), false).await.unwrap();
    assert_eq!((found.ipv4, found.ipv6), (Some(ADDRESS), None));
    assert!(found.agreed_by.iter().all(|by| services[..2].contains(by)) && found.agreed_by.len() == 2);
}

#[tokio::test]
async fn services_that_disagree_are_reported_with_what_each_said() {
    let (one, two) = (service(says("93.184.216.34")).await, service(says("8.8.8.8")).await);
    let error = get(&port(urls(&[&one, &two]), Duration::from_secs(5)), false).await.unwrap_err().to_string();
    assert!(
        error.contains("93.184.216.34") && error.contains("8.8.8.8") && error.contains(&one.uri()),
        "{error}"
    );
}

#[tokio::test]
async fn a_slow_service_holds_up_nobody_when_two_others_agree() {
    let slow = service(says("93.184.216.34").set_delay(Duration::from_secs(600))).await;
    let (one, two) = (service(says("93.184.216.34")).await, service(says("93.184.216.34")).await);
    let found = get(&port(urls(&[&slow, &one, &two]), Duration::from_secs(600)), false).await.unwrap();
    assert_eq!(found.ipv4, Some(ADDRESS));
    assert!(!found.agreed_by.contains(&format!("{}/ip", slow.uri())));
}

#[tokio::test]
async fn garbage_private_addresses_and_floods_are_no_answers() {
    let page = service(says("<html>hello</html>")).await;
    let private = service(says("10.0.0.1")).await;
    let flood = service(says(&"9".repeat(1_000_000))).await;
    let broken = service(ResponseTemplate::new(503)).await;
    let services = urls(&[&page, &private, &flood, &broken]);
    let error = get(&port(services, Duration::from_secs(5)), false).await.unwrap_err().to_string();
    for said in ["no address", "10.0.0.1: that is no public address", "more than 64 bytes", "503"] {
        assert!(error.contains(said), "{said} is not in: {error}");
    }
}

#[tokio::test]
async fn when_all_are_down_the_error_names_each_with_the_reason() {
    let services = vec![nobody(), nobody()];
    let error = get(&port(services.clone(), Duration::from_secs(30)), false).await.unwrap_err().to_string();
    assert!(services.iter().all(|service| error.contains(service)), "{error}");
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn silent_services_are_waited_for_only_so_long() {
    let silent = || service(says("93.184.216.34").set_delay(Duration::from_secs(600)));
    let (one, two) = (silent().await, silent().await);
    let error =
        get(&port(urls(&[&one, &two]), Duration::from_millis(500)), false).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 500 ms"), "{error}");
}

#[tokio::test]
async fn fewer_than_two_services_cannot_agree() {
    let one = service(says("93.184.216.34")).await;
    let error = get(&port(urls(&[&one]), Duration::from_secs(5)), false).await.unwrap_err();
    assert_eq!(error, PublicIpError::TooFewServices { configured: 1 });
    assert_eq!(asked(&one).await, 0);
}

#[tokio::test]
async fn an_answer_is_told_again_with_its_age_until_somebody_wants_a_new_one() {
    let (one, two) = (service(says("93.184.216.34")).await, service(says("93.184.216.34")).await);
    let port = port(urls(&[&one, &two]), Duration::from_secs(5));
    get(&port, false).await.unwrap();
    let questions = asked(&one).await;
    assert!(questions >= 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let again = get(&port, false).await.unwrap();
    assert!(again.age_ms >= 20, "{again:?}");
    assert_eq!(asked(&one).await, questions);
    assert!(get(&port, true).await.unwrap().age_ms < again.age_ms);
    assert!(asked(&one).await > questions);
}

#[tokio::test]
async fn many_questions_at_once_are_one_to_the_services() {
    let slowly = says("93.184.216.34").set_delay(Duration::from_millis(100));
    let (one, two) = (service(slowly.clone()).await, service(slowly).await);
    let port = port(urls(&[&one, &two]), Duration::from_secs(5));
    let all = futures::future::join_all((0..10).map(|_| get(&port, true))).await;
    assert!(all.iter().all(|found| found.as_ref().is_ok_and(|found| found.ipv4 == Some(ADDRESS))));
    assert!(asked(&one).await <= 2, "{} questions", asked(&one).await);
}

/// A port that cannot say the address so many times, and then can. Counts the questions.
fn later(failures: u32) -> (Port<GetPublicIp>, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let port = serve_port(4, &Handle::current(), move |_| {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        async move {
            if turn < failures {
                return Err(PublicIpError::NoAgreement { answers: "all are out of reach".into() });
            }
            let agreed_by = vec!["one".into(), "two".into()];
            Ok(PublicIp { ipv4: Some(ADDRESS), ipv6: None, agreed_by, age_ms: 0 })
        }
    });
    (port, asked)
}

#[tokio::test(start_paused = true)]
async fn at_the_start_it_is_asked_again_at_growing_pauses_until_somebody_can_say() {
    let (port, asked) = later(5);
    let began = Instant::now();
    let found = detect(&port, PATIENCE, 1).await.unwrap();
    assert_eq!((found.ipv4, asked.load(Ordering::Relaxed)), (Some(ADDRESS), 6));
    // 5, 10, 20, 40 and 80 seconds, up to a fifth less.
    let took = began.elapsed().as_secs();
    assert!((124..=155).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn at_the_start_it_is_given_up_after_some_hours_and_at_once_where_it_cannot_work() {
    let (port, asked) = later(u32::MAX);
    let began = Instant::now();
    assert_eq!(detect(&port, PATIENCE, 1).await, None);
    assert_eq!(asked.load(Ordering::Relaxed), TRIES);
    let hours = began.elapsed().as_secs_f64() / 3600.0;
    assert!((4.0..7.0).contains(&hours), "{hours} h");
    let began = Instant::now();
    let none = serve(&Handle::current(), PublicIpOptions { services: vec![], ..PublicIpOptions::default() });
    assert_eq!(detect(&none, PATIENCE, 1).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
