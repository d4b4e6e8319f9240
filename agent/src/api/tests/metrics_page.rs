//! The metrics page and the health page.

use super::*;

fn metrics(health: Health) -> (SocketAddr, JoinHandle<io::Result<()>>) {
    let server = MetricsServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.address();
    let page = MetricsPage {
        content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        render: Arc::new(|| "# EOF\n".to_owned()),
        health: Arc::new(move || health.clone()),
    };
    (address, tokio::spawn(server.serve(page, std::future::pending())))
}

#[tokio::test]
async fn metrics_and_health_are_served_and_nothing_else() {
    let (address, _task) = metrics(Health::Healthy);
    let (sick, _task) = metrics(Health::Unhealthy("kernel programs are gone".into()));
    for (address, request, first, last) in [
        (address, "GET /metrics", "200 OK", "\r\n\r\n# EOF\n"),
        (address, "GET /metrics?x=y", "200 OK", "\r\n\r\n# EOF\n"),
        (address, "HEAD /metrics", "200 OK", "\r\n\r\n"),
        (address, "GET /healthz", "200 OK", "\r\n\r\nok\n"),
        (sick, "GET /healthz", "503 Service Unavailable", "kernel programs are gone\n"),
        (address, "POST /metrics", "405 Method Not Allowed", "served here\n"),
        (address, "GET /", "404 Not Found", "/healthz\n"),
        (address, "GET /v1/watch", "404 Not Found", "/healthz\n"),
        (address, "GET //metrics", "404 Not Found", "/healthz\n"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let answer = exchange(stream, &format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {first}\r\n")), "{request}: {answer}");
        assert!(answer.ends_with(last), "{request}: {answer}");
        assert!(
            !request.ends_with("ics") || !first.starts_with("200") || answer.contains("openmetrics-text")
        );
    }
}

#[tokio::test]
async fn scrapers_that_never_ask_do_not_keep_others_out() {
    let (address, _task) = metrics(Health::Healthy);
    let mut silent = Vec::new();
    for _ in 0..MAX_SCRAPERS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn a_taken_metrics_port_is_told_with_what_to_do() {
    let (address, _task) = metrics(Health::Healthy);
    let refused = MetricsServer::bind(address).unwrap_err().to_string();
    assert!(
        refused.starts_with(&format!("metrics address {address} is taken: use --metrics-listen")),
        "{refused}"
    );
}
