//! Openings of text protocols, written from their specifications: what the tests and the fuzz body start from.

use super::Credential::{self, *};
use super::Protocol::{self, *};

/// One connection.
pub struct Sample {
    /// What it speaks.
    pub protocol: Protocol,
    /// What the client says, up to the switch if there is one.
    pub client: &'static [u8],
    /// What the server says, up to the switch if there is one.
    pub server: &'static [u8],
    /// What crosses in clear.
    pub credential: Option<Credential>,
    /// Both agreed to switch.
    pub switches: bool,
}

const fn plain(protocol: Protocol, client: &'static [u8], server: &'static [u8]) -> Sample {
    Sample { protocol, client, server, credential: None, switches: false }
}

const fn shows(credential: Credential, sample: Sample) -> Sample {
    Sample { credential: Some(credential), ..sample }
}

const fn switches(sample: Sample) -> Sample {
    Sample { switches: true, ..sample }
}

/// `\0user\0pass` is AHVzZXIAcGFzcw== in Base64, `\0user\0` AHVzZXIA, `user` dXNlcg==, `pass` cGFzcw==.
pub const SAMPLES: &[Sample] = &[
    // HTTP
    plain(Http1, b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    plain(Http1, b"GET / HTTP/1.1\r\nAuthorization: Digest username=\"u\", response=\"0\"\r\nX-API-Key:\r\n\r\n", b""),
    shows(HttpBasic, plain(Http1, b"GET / HTTP/1.0\r\nauthorization: basic dXNlcjpwYXNz\r\n\r\n", b"")),
    shows(HttpBearer, plain(Http1, b"GET / HTTP/1.1\nAuthorization: Bearer abc\n\n", b"HTTP/1.1 200 OK\r\n\r\n")),
    shows(HttpApiKey, plain(Http1, b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nab\nPUT /b HTTP/1.1\r\nx-api-key: k\r\n\r\n", b"")),
    shows(HttpApiKey, plain(Http1, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\n\r\nGET /v1/secret HTTP/1.1\r\nX-Vault-Token: k\r\n\r\n", b"")),
    // A body is no request, whatever it looks like.
    plain(Http1, b"POST /a HTTP/1.1\r\nContent-Length: 99\r\n\r\nGET / HTTP/1.1\r\nX-API-Key: k\r\n\r\n", b""),
    switches(plain(Http1, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n")),
    switches(shows(HttpBasic, plain(
        Http1,
        b"CONNECT a:443 HTTP/1.1\r\n\r\nCONNECT a:443 HTTP/1.1\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\nHTTP/1.0 200 OK\r\nVia: x\r\n\r\n",
    ))),
    plain(Http1, b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    switches(plain(Http1, b"OPTIONS * HTTP/1.1\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n\r\n")),
    plain(Http1, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81\x05hello", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    plain(Http1, b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    // SMTP
    switches(plain(Smtp, b"EHLO c.example\r\nSTARTTLS\r\n", b"220-mx.example ESMTP\r\n220 ready\r\n250-mx.example\r\n250-STARTTLS\r\n250 8BITMIME\r\n220 2.0.0 go ahead\r\n")),
    switches(plain(Smtp, b"ehlo c\nstarttls\n", b"220 mx\n250 ok\n220 go\n")),
    plain(Smtp, b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", b"220 mx\r\n250-a\r\n250 b\r\n454 no TLS\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
    shows(SmtpPlain, plain(Smtp, b"EHLO c\r\nAUTH PLAIN AHVzZXIAcGFzcw==\r\n", b"220 mx\r\n250 AUTH PLAIN\r\n235 ok\r\n")),
    shows(SmtpPlain, plain(Smtp, b"EHLO c\r\nSTARTTLS\r\nAUTH plain\r\nAHVzZXIAcGFzcw==\r\n", b"220 mx\r\n250 AUTH PLAIN\r\n502 no\r\n334 \r\n235 ok\r\n")),
    plain(Smtp, b"EHLO c\r\nAUTH PLAIN AHVzZXIA\r\n", b"220 mx\r\n250 AUTH PLAIN\r\n535 no\r\n"),
    shows(SmtpLogin, plain(Smtp, b"EHLO c\r\nAUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", b"220 mx\r\n250 AUTH\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 ok\r\n")),
    shows(SmtpLogin, plain(Smtp, b"EHLO c\r\nAUTH LOGIN dXNlcg==\r\ncGFzcw==\r\n", b"220 mx\r\n250 AUTH\r\n334 UGFzc3dvcmQ6\r\n535 no\r\n")),
    plain(Smtp, b"EHLO c\r\nAUTH CRAM-MD5\r\nAHVzZXIAcGFzcw==\r\n", b"220 mx\r\n250 AUTH\r\n334 PDFAYj4=\r\n235 ok\r\n"),
    plain(Smtp, b"QUIT\r\n", b"220 mx ESMTP\r\n221 bye\r\n"),
    switches(plain(Smtp, b"LHLO c\r\nSTARTTLS\r\n", b"220 store LMTP\r\n250-store\r\n250 STARTTLS\r\n220 go\r\n")),
    // Some clients do not say EHLO, and some greetings do not say SMTP.
    shows(SmtpPlain, plain(Smtp, b"AUTH PLAIN AHVzZXIAcGFzcw==\r\n", b"220 mx.example ESMTP Postfix\r\n235 ok\r\n")),
    shows(SmtpLogin, plain(Smtp, b"AUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", b"220 ftp.example esmtp\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 ok\r\n")),
    shows(SmtpPlain, plain(Smtp, b"auth plain\r\nAHVzZXIAcGFzcw==\r\n", b"220-relay\r\n220 ready\r\n334 \r\n235 ok\r\n")),
    plain(Smtp, b"AUTH GSSAPI\r\n", b"220 mx ESMTP\r\n334 \r\n"),
    switches(plain(Smtp, b"STARTTLS\r\n", b"220 mx ESMTP\r\n220 go ahead\r\n")),
    switches(plain(Smtp, b"STARTTLS\r\n", b"220 relay\r\n220 go ahead\r\n")),
    plain(Smtp, b"MAIL FROM:<a@b>\r\n", b"220 mx ESMTP\r\n503 hello first\r\n"),
    // FTP
    shows(FtpPassword, plain(Ftp, b"USER alice\r\nPASS secret\r\n", b"220 (vsFTPd 3.0.3)\r\n331 Please specify the password.\r\n230 ok\r\n")),
    plain(Ftp, b"USER anonymous\r\nPASS me@example.org\r\nSYST\r\n", b"220 files\r\n331 ok\r\n230 ok\r\n215 UNIX\r\n"),
    plain(Ftp, b"USER alice\r\nPASS \r\n", b"220 files\r\n331 ok\r\n530 no\r\n"),
    switches(plain(Ftp, b"FEAT\r\nAUTH TLS\r\n", b"220-Welcome\r\n 220 to files\r\n220 now\r\n211-Features:\r\n AUTH TLS\r\n211 End\r\n234 AUTH TLS OK.\r\n")),
    shows(FtpPassword, plain(Ftp, b"AUTH SSL\nUSER a\nPASS b\n", b"220 x\n500 what\n331 ok\n230 in\n")),
    switches(plain(Ftp, b"AUTH TLS\r\n", b"220 smtp.example.org FTP server ready.\r\n234 go\r\n")),
    shows(FtpPassword, plain(Ftp, b"USER a\r\nPASS b\r\n", b"220---------- Welcome to Pure-FTPd ----------\r\n220-Local time is now 12:00\r\n220 smtp.example.org\r\n331 ok\r\n230 in\r\n")),
    plain(Ftp, b"AUTH GSSAPI\r\n", b"220 files\r\n334 go\r\n"),
    plain(Ftp, b"QUIT\r\n", b"220 ProFTPD Server ready\r\n221 bye\r\n"),
    // POP3
    shows(Pop3Password, plain(Pop3, b"USER alice\r\nPASS secret word\r\n", b"+OK\r\n+OK\r\n+OK in\r\n")),
    plain(Pop3, b"APOP alice c4c9334bac560ecc979e58001b3e22fb\r\nSTAT\r\n", b"+OK <1896.697170952@example>\r\n+OK in\r\n+OK 1 2\r\n"),
    switches(plain(Pop3, b"CAPA\r\nSTLS\r\n", b"+OK Dovecot ready.\r\n+OK\r\nSTLS\r\nUSER\r\n.\r\n+OK Begin TLS\r\n")),
    shows(Pop3Plain, plain(Pop3, b"STLS\r\nAUTH PLAIN\r\nAHVzZXIAcGFzcw==\r\n", b"+OK ready\r\n-ERR no\r\n+ \r\n+OK in\r\n")),
    shows(Pop3Plain, plain(Pop3, b"AUTH PLAIN AHVzZXIAcGFzcw==\r\n", b"+OK ready\r\n+OK in\r\n")),
    shows(Pop3Login, plain(Pop3, b"AUTH\r\nAUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", b"+OK ready\r\n+OK\r\nLOGIN\r\n.\r\n+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n-ERR no\r\n")),
    // IMAP
    switches(plain(Imap, b"a CAPABILITY\r\na STARTTLS\r\n", b"* OK ready\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\na OK go\r\n")),
    shows(ImapLogin, plain(Imap, b"A1 STARTTLS\r\nA2 LOGIN alice \"a \\\"b\"\r\n", b"* OK ready\r\nA1 BAD no\r\nA2 OK in\r\n")),
    plain(Imap, b"A2 login alice \"\"\r\n", b"* OK ready\r\nA2 NO what\r\n"),
    shows(ImapLogin, plain(Imap, b"1 LOGIN {5}\r\nalice {4}\r\npass\r\n", b"* OK [CAPABILITY IMAP4rev1] ready\r\n+ go\r\n+ go\r\n1 OK in\r\n")),
    switches(plain(Imap, b"1 LOGIN {1}\r\n2 STARTTLS\r\n", b"* OK ready\r\n1 BAD [PRIVACYREQUIRED] no\r\n2 OK go\r\n")),
    switches(plain(Imap, b"1 ID (\"name\" {6+}\r\n9 OK\r\n)\r\n2 STARTTLS\r\n", b"* OK ready\r\n1 OK\r\n2 OK go\r\n")),
    shows(ImapPlain, plain(Imap, b"x AUTHENTICATE PLAIN AHVzZXIAcGFzcw==\r\n", b"* OK ready\r\nx OK in\r\n")),
    shows(ImapPlain, plain(Imap, b"x AUTHENTICATE PLAIN\r\nAHVzZXIAcGFzcw==\r\n", b"* OK ready\r\n+ \r\nx NO out\r\n")),
    shows(ImapLogin, plain(Imap, b"x AUTHENTICATE LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n", b"* OK ready\r\n+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\nx OK in\r\n")),
    plain(Imap, b"x AUTHENTICATE SCRAM-SHA-256\r\nAHVzZXIAcGFzcw==\r\n\r\n", b"* OK ready\r\n+ \r\n+ abc\r\nx OK in\r\n"),
    // IRC
    plain(Irc, b"CAP LS 302\r\nNICK a\r\nUSER a 0 * :A\r\n", b":irc.example NOTICE * :*** Looking up your hostname\r\n"),
    switches(plain(Irc, b"STARTTLS\r\n", b":irc.example NOTICE * :*** Hello\r\n:irc.example 670  :STARTTLS successful, go ahead\r\n")),
    switches(plain(Irc, b"CAP LS\r\nSTARTTLS\r\n", b":irc.example CAP * LS :tls\r\n:irc.example 670 a :go ahead\r\n")),
    switches(plain(Irc, b"CAP X\r\nSTARTTLS\r\n", b":irc.example 421 a CAP :what\r\n:irc.example 670 a :go ahead\r\n")),
    shows(IrcPassword, plain(Irc, b"STARTTLS\r\nPASS secret\r\n", b":irc.example 691 a :no\r\n")),
    shows(IrcPassword, plain(Irc, b"PASS secret\r\nNICK a\r\n", b"PING :1\r\n:irc.example 001 a :Welcome\r\n")),
    shows(IrcPassword, plain(Irc, b"CAP REQ :sasl\r\nAUTHENTICATE PLAIN\r\nAUTHENTICATE AHVzZXIAcGFzcw==\r\n", b":irc.example CAP * ACK :sasl\r\nAUTHENTICATE +\r\n")),
    // XMPP
    switches(plain(
        Xmpp,
        b"<?xml version='1.0'?><stream:stream to='a' xmlns='jabber:client' version='1.0'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<?xml version='1.0'?><stream:stream id='1'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls></stream:features><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    )),
    switches(plain(Xmpp, b"<stream:stream to=\">\"><starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"></starttls>", b"<stream:stream><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>")),
    plain(Xmpp, b"<stream:stream><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"<stream:stream><failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
    shows(XmppPlain, plain(Xmpp, b"<?xml version='1.0'?>\n<stream:stream><auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHVzZXIAcGFzcw==</auth>", b"<stream:stream>")),
    plain(Xmpp, b"<stream:stream><auth mechanism='SCRAM-SHA-1'>AHVzZXIAcGFzcw==</auth>", b"<stream:stream>"),
    // NATS
    shows(NatsPassword, plain(Nats, b"CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\": \"b\"}\r\nPING\r\n", b"INFO {\"server_id\":\"x\"} \r\n+OK\r\n")),
    plain(Nats, b"CONNECT {\"user\":\"pass\",\"pass\":\"\",\"name\":\"\\\"pass\\\":\\\"x\\\"\"}\r\n", b"INFO {\"a\":1}\r\n"),
    // Redis
    plain(Redis, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    shows(RedisAuth, plain(Redis, b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nauth\r\n$6\r\nsecret\r\n", b"-NOAUTH Authentication required.\r\n+OK\r\n")),
    shows(RedisAuth, plain(Redis, b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n", b"")),
    plain(Redis, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$4\r\nAUTH\r\n$4\r\nAUTH\r\n", b"%7\r\n$6\r\nserver\r\n"),
    shows(RedisAuth, plain(Redis, b"AUTH secret\r\n", b"+OK\r\n")),
    plain(Redis, b"INFO\r\n", b"$2048\r\n# Server\r\n"),
    // Others
    plain(Memcached, b"get key\r\n", b"END\r\n"),
    plain(Memcached, b"set key 0 0 5\r\nvalue\r\n", b"STORED\r\n"),
    plain(Memcached, b"stats\r\n", b"STAT pid 1\r\n"),
    plain(Memcached, b"mg key v\r\n", b"VA 2\r\nhi\r\n"),
    plain(Telnet, b"\xff\xfb\x18\xff\xfb\x20", b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23"),
    plain(Telnet, b"root\r\n", b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03login: "),
    plain(Sip, b"OPTIONS sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/TCP a\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"),
    plain(Sip, b"\r\n\r\nREGISTER sips:example.org SIP/2.0\r\n\r\n", b""),
    plain(Rtsp, b"OPTIONS rtsp://cam/stream RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"RTSP/1.0 200 OK\r\n\r\n"),
    shows(HttpBasic, plain(Rtsp, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nDESCRIBE rtsp://cam/ RTSP/1.0\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n", b"")),
    plain(Ssh, b"SSH-2.0-OpenSSH_9.2p1\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    plain(Vnc, b"RFB 003.008\n\x01", b"RFB 003.008\n\x02\x01\x02"),
    plain(Zookeeper, b"ruok", b"imok"),
    plain(Zookeeper, b"stat\n", b"stat is not executed because it is not in the whitelist.\n"),
    plain(Zookeeper, b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\0\0\0\x25\0\0\0\0\0\0\x75\x30\x01\0\0\0\0\0\0\x01\0\0\0\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\0"),
    // SOCKS
    switches(plain(Socks, b"\x05\x01\x00\x05\x01\x00\x03\x04host\x01\xbb", b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38")),
    switches(shows(SocksPassword, plain(Socks, b"\x05\x02\x00\x02\x01\x04user\x04pass\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"))),
    shows(SocksPassword, plain(Socks, b"\x05\x01\x02\x01\x04user\x04pass", b"\x05\x02\x01\x01")),
    plain(Socks, b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", b"\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"),
    plain(Socks, b"\x05\x01\x00", b"\x05\xff"),
    switches(plain(Socks, b"\x04\x01\x01\xbb\x7f\x00\x00\x01user\x00", b"\x00\x5a\x00\x00\x00\x00\x00\x00")),
    switches(plain(Socks, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.org\x00", b"\x00\x5a\x01\xbb\x00\x00\x00\x00")),
    plain(Socks, b"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00", b"\x00\x5b\x00\x00\x00\x00\x00\x00"),
];
