// The same peer on Node's tls: `node peer.js OPTIONS-AS-JSON`, with `identities` as in peer.py.
"use strict";
const fs = require("fs");
const net = require("net");
const tls = require("tls");

const REQUEST = "GET / HTTP/1.1\r\nHost: server.test\r\nUser-Agent: a client of the tests\r\nAccept: */*\r\nConnection: close\r\n\r\n";
const RESPONSE = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
const options = JSON.parse(process.argv[2]);
const secure = options.version
  ? {
      minVersion: `TLSv${options.version}`,
      maxVersion: `TLSv${options.version}`,
      ca: fs.readFileSync(options.ca),
      cert: options.chain ? fs.readFileSync(options.chain) : undefined,
      key: options.key ? fs.readFileSync(options.key) : undefined,
      ALPNProtocols: ["http/1.1"],
    }
  : null;

function serve() {
  const answer = (socket) => {
    socket.on("error", (error) => console.log(`server: ${error.message}`));
    let seen = "";
    socket.on("data", (part) => {
      seen += part;
      if (seen.endsWith("\r\n\r\n")) socket.end(RESPONSE);
    });
  };
  const server = secure
    ? tls.createServer(
        {
          ...secure,
          requestCert: options.request !== "no",
          rejectUnauthorized: options.request === "require",
        },
        answer,
      )
    : net.createServer(answer);
  server.on("tlsClientError", (error) => console.log(`server: ${error.message}`));
  server.listen({ host: options.address, port: options.port, backlog: 1024 });
}

function connectOnce(session, done, own = {}) {
  const result = { answered: false, suite: null, resumed: null, session: null };
  const where = { host: options.address, port: options.port, allowHalfOpen: false };
  const ready = () => {
    if (secure) {
      result.suite = socket.getCipher().standardName;
      result.resumed = socket.isSessionReused();
    }
    socket.write(REQUEST);
  };
  const socket = secure
    ? tls.connect({ ...where, ...secure, servername: "server.test", session, ...own }, ready)
    : net.connect(where, ready);
  let seen = "";
  socket.on("session", (ticket) => (result.session = ticket));
  socket.on("data", (part) => {
    seen += part;
    result.answered = seen.toUpperCase().includes("200 OK");
  });
  socket.on("connect", () => (result.port = socket.localPort));
  socket.on("error", (error) => (result.error = error.message));
  socket.on("close", () => done(result));
}

function report(result) {
  const { session, port, ...shown } = result;
  console.log(JSON.stringify(shown));
}

// All at once, each with a handshake and a certificate of its own.
function connectCrowd() {
  const all = { answered: true, connections: [] };
  options.identities.forEach(([chain, key], number) => {
    const own = { cert: fs.readFileSync(chain), key: fs.readFileSync(key) };
    const done = (result) => {
      all.answered &&= result.answered;
      all.connections.push([result.port, number]);
      if (result.error) all.error = result.error;
      if (all.connections.length === options.identities.length) console.log(JSON.stringify(all));
    };
    connectOnce(undefined, done, own);
  });
}

if (options.role === "server") serve();
else if (options.identities) connectCrowd();
else
  connectOnce(undefined, (first) => {
    if (!options.resume) return report(first);
    connectOnce(first.session, (second) =>
      report({ ...second, answered: first.answered && second.answered }),
    );
  });
