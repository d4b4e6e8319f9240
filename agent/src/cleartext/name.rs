//! Names: protocols, credentials and switches as the public record has them.

/// An application protocol in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and 1.1 (RFC 9112).
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// gRPC over HTTP/2 with prior knowledge.
    Grpc,
    /// SSH (RFC 4253).
    Ssh,
    /// PostgreSQL's protocol, version 3.
    Postgresql,
    /// The protocol of MySQL and MariaDB.
    Mysql,
    /// Tabular Data Stream of SQL Server and Sybase (MS-TDS).
    Tds,
    /// Oracle's Transparent Network Substrate.
    Oracle,
    /// Redis and Valkey (RESP).
    Redis,
    /// memcached, text and binary.
    Memcached,
    /// MongoDB's wire protocol.
    Mongodb,
    /// Cassandra's native protocol (CQL).
    Cassandra,
    /// Apache Kafka.
    Kafka,
    /// AMQP 0-9-1 and 1.0.
    Amqp,
    /// MQTT 3.1 to 5.0.
    Mqtt,
    /// NATS.
    Nats,
    /// Apache ZooKeeper.
    Zookeeper,
    /// LDAP (RFC 4511).
    Ldap,
    /// SMTP and LMTP (RFC 5321, RFC 2033).
    Smtp,
    /// IMAP (RFC 9051).
    Imap,
    /// POP3 (RFC 1939).
    Pop3,
    /// FTP's control connection (RFC 959).
    Ftp,
    /// IRC (RFC 2812).
    Irc,
    /// XMPP (RFC 6120).
    Xmpp,
    /// Telnet with option negotiation (RFC 854).
    Telnet,
    /// DNS over TCP (RFC 7766).
    Dns,
    /// SMB 1 to 3 (MS-SMB2), over TCP or NetBIOS sessions.
    Smb,
    /// Remote Desktop (MS-RDPBCGR).
    Rdp,
    /// Remote Framebuffer of VNC (RFC 6143).
    Vnc,
    /// SIP over TCP (RFC 3261).
    Sip,
    /// SOCKS 4, 4a and 5 (RFC 1928).
    Socks,
    /// RTSP (RFC 2326, RFC 7826).
    Rtsp,
    /// BGP-4 (RFC 4271).
    Bgp,
}

impl Protocol {
    /// As the public record names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http1 => "http/1",
            Protocol::Http2 => "http/2",
            Protocol::Grpc => "grpc",
            Protocol::Ssh => "ssh",
            Protocol::Postgresql => "postgresql",
            Protocol::Mysql => "mysql",
            Protocol::Tds => "tds",
            Protocol::Oracle => "oracle",
            Protocol::Redis => "redis",
            Protocol::Memcached => "memcached",
            Protocol::Mongodb => "mongodb",
            Protocol::Cassandra => "cassandra",
            Protocol::Kafka => "kafka",
            Protocol::Amqp => "amqp",
            Protocol::Mqtt => "mqtt",
            Protocol::Nats => "nats",
            Protocol::Zookeeper => "zookeeper",
            Protocol::Ldap => "ldap",
            Protocol::Smtp => "smtp",
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Ftp => "ftp",
            Protocol::Irc => "irc",
            Protocol::Xmpp => "xmpp",
            Protocol::Telnet => "telnet",
            Protocol::Dns => "dns",
            Protocol::Smb => "smb",
            Protocol::Rdp => "rdp",
            Protocol::Vnc => "vnc",
            Protocol::Sip => "sip",
            Protocol::Socks => "socks",
            Protocol::Rtsp => "rtsp",
            Protocol::Bgp => "bgp",
        }
    }

    /// It can make room for TLS or for what it carries.
    pub fn may_switch(self) -> bool {
        matches!(
            self,
            Protocol::Smtp
                | Protocol::Imap
                | Protocol::Pop3
                | Protocol::Ftp
                | Protocol::Ldap
                | Protocol::Xmpp
                | Protocol::Postgresql
                | Protocol::Mysql
                | Protocol::Socks
                | Protocol::Rdp
                | Protocol::Tds
                | Protocol::Nats
                | Protocol::Irc
                | Protocol::Amqp
        )
    }

    /// It encrypts and authenticates in its own way after its opening in clear.
    pub fn protects_itself(self) -> bool {
        matches!(self, Protocol::Ssh)
    }

    /// It may do so, which its opening does not show: SMB 3 and Oracle encrypt where both sides are configured to, RDP has a
    /// protection of its own beside TLS.
    pub fn may_protect_itself(self) -> bool {
        matches!(self, Protocol::Smb | Protocol::Oracle | Protocol::Rdp)
    }
}

/// A kind of credential that can be read off the wire as it is, or with a table (Base64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// HTTP Basic, also towards a proxy and in RTSP (RFC 7617).
    HttpBasic,
    /// An HTTP bearer token (RFC 6750).
    HttpBearer,
    /// A common API-key header of HTTP.
    HttpApiKey,
    /// PostgreSQL's cleartext password.
    PostgresqlPassword,
    /// MySQL's and MariaDB's cleartext plugin.
    MysqlPassword,
    /// Redis AUTH, or HELLO with AUTH.
    RedisAuth,
    /// An LDAP simple bind with a password.
    LdapSimpleBind,
    /// FTP PASS.
    FtpPassword,
    /// SMTP AUTH PLAIN.
    SmtpPlain,
    /// SMTP AUTH LOGIN.
    SmtpLogin,
    /// IMAP AUTHENTICATE PLAIN.
    ImapPlain,
    /// IMAP LOGIN, or AUTHENTICATE LOGIN.
    ImapLogin,
    /// POP3 PASS.
    Pop3Password,
    /// POP3 AUTH PLAIN.
    Pop3Plain,
    /// POP3 AUTH LOGIN.
    Pop3Login,
    /// AMQP with SASL PLAIN or AMQPLAIN.
    AmqpPlain,
    /// MQTT CONNECT with a password.
    MqttPassword,
    /// Kafka with SASL PLAIN.
    KafkaPlain,
    /// SOCKS user name and password (RFC 1929).
    SocksPassword,
    /// XMPP with SASL PLAIN.
    XmppPlain,
    /// memcached with SASL PLAIN.
    MemcachedPlain,
    /// NATS CONNECT with a password or token.
    NatsPassword,
    /// IRC PASS, OPER or SASL PLAIN.
    IrcPassword,
    /// Cassandra's password authenticator.
    CassandraPassword,
    /// MongoDB with SASL PLAIN.
    MongodbPlain,
    /// An LDAP bind with SASL PLAIN.
    LdapPlain,
    /// A TDS login outside TLS; from version 7.0 on its password is disguised by a fixed table.
    TdsPassword,
}

impl Credential {
    /// As the public record names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Credential::HttpBasic => "http_basic",
            Credential::HttpBearer => "http_bearer",
            Credential::HttpApiKey => "http_api_key",
            Credential::PostgresqlPassword => "postgresql_password",
            Credential::MysqlPassword => "mysql_password",
            Credential::RedisAuth => "redis_auth",
            Credential::LdapSimpleBind => "ldap_simple_bind",
            Credential::FtpPassword => "ftp_password",
            Credential::SmtpPlain => "smtp_plain",
            Credential::SmtpLogin => "smtp_login",
            Credential::ImapPlain => "imap_plain",
            Credential::ImapLogin => "imap_login",
            Credential::Pop3Password => "pop3_password",
            Credential::Pop3Plain => "pop3_plain",
            Credential::Pop3Login => "pop3_login",
            Credential::AmqpPlain => "amqp_plain",
            Credential::MqttPassword => "mqtt_password",
            Credential::KafkaPlain => "kafka_plain",
            Credential::SocksPassword => "socks_password",
            Credential::XmppPlain => "xmpp_plain",
            Credential::MemcachedPlain => "memcached_plain",
            Credential::NatsPassword => "nats_password",
            Credential::IrcPassword => "irc_password",
            Credential::CassandraPassword => "cassandra_password",
            Credential::MongodbPlain => "mongodb_plain",
            Credential::LdapPlain => "ldap_plain",
            Credential::TdsPassword => "tds_password",
        }
    }
}

/// A protocol that made room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// SMTP STARTTLS (RFC 3207).
    Smtp,
    /// IMAP STARTTLS (RFC 9051 section 6.2.1).
    Imap,
    /// POP3 STLS (RFC 2595).
    Pop3,
    /// FTP AUTH TLS (RFC 4217).
    Ftp,
    /// LDAP StartTLS (RFC 4511 section 4.14).
    Ldap,
    /// XMPP STARTTLS (RFC 6120 section 5).
    Xmpp,
    /// PostgreSQL SSLRequest.
    Postgresql,
    /// MySQL's and MariaDB's SSL request.
    Mysql,
    /// HTTP CONNECT (RFC 9110 section 9.3.6).
    HttpConnect,
    /// HTTP Upgrade to TLS (RFC 2817).
    HttpUpgrade,
    /// IRC STARTTLS (IRCv3).
    Irc,
    /// NATS, whose client may begin with TLS after the server's INFO.
    Nats,
    /// SOCKS, once the proxy has connected.
    Socks,
    /// Remote Desktop, after its X.224 negotiation.
    Rdp,
    /// Tabular Data Stream, whose TLS handshake travels in its own packets.
    Tds,
    /// The TLS layer of AMQP 1.0.
    Amqp,
}

impl Upgrade {
    /// As the public record names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Upgrade::Smtp => "smtp",
            Upgrade::Imap => "imap",
            Upgrade::Pop3 => "pop3",
            Upgrade::Ftp => "ftp",
            Upgrade::Ldap => "ldap",
            Upgrade::Xmpp => "xmpp",
            Upgrade::Postgresql => "postgresql",
            Upgrade::Mysql => "mysql",
            Upgrade::HttpConnect => "http_connect",
            Upgrade::HttpUpgrade => "http_upgrade",
            Upgrade::Irc => "irc",
            Upgrade::Nats => "nats",
            Upgrade::Socks => "socks",
            Upgrade::Rdp => "rdp",
            Upgrade::Tds => "tds",
            Upgrade::Amqp => "amqp",
        }
    }
}
