// The same peer on Go's crypto/tls: `go-peer OPTIONS-AS-JSON`, with `identities` as in peer.py. With `unverified` it
// insists on a certificate and takes any; with `wrapped` its sockets are none that crypto/tls knows.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

const request = "GET / HTTP/1.1\r\nHost: server.test\r\nUser-Agent: a client of the tests\r\nAccept: */*\r\nConnection: close\r\n\r\n"
const response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

type options struct {
	Role, Address, Version, Request, Chain, Key, Ca string
	Port, Count                                     int
	Resume, Unverified, Wrapped                     bool
	Identities                                      [][2]string
}

type report struct {
	Answered bool   `json:"answered"`
	Resumed  *bool  `json:"resumed"`
	Suite    string `json:"suite,omitempty"`
	Error    string `json:"error,omitempty"`
	// Local port and number of the identity.
	Connections  [][2]int `json:"connections,omitempty"`
	port, number int
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func configuration(o options) *tls.Config {
	version := uint16(tls.VersionTLS13)
	if o.Version == "1.2" {
		version = tls.VersionTLS12
	}
	pem, err := os.ReadFile(o.Ca)
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &tls.Config{
		MinVersion: version, MaxVersion: version, ServerName: "server.test",
		RootCAs: roots, ClientCAs: roots, NextProtos: []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if o.Chain != "" {
		show(c, o.Chain, o.Key)
	}
	switch o.Request {
	case "optional":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case "require":
		c.ClientAuth = tls.RequireAndVerifyClientCert
		if o.Unverified {
			c.ClientAuth = tls.RequireAnyClientCert
		}
	}
	c.InsecureSkipVerify = o.Unverified
	return c
}

func show(c *tls.Config, chain, key string) {
	pair, err := tls.LoadX509KeyPair(chain, key)
	must(err)
	// Without this Go sends nothing where the server's list of authorities does not name the issuer.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	c.Certificates = []tls.Certificate{pair}
}

// A connection that crypto/tls cannot tell to be TCP.
type wrapped struct{ net.Conn }

type wrapping struct{ net.Listener }

func (l wrapping) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &wrapped{conn}, err
}

func serve(o options, where string) {
	listener, err := net.Listen("tcp", where)
	must(err)
	if o.Wrapped {
		listener = wrapping{listener}
	}
	if o.Version != "" {
		listener = tls.NewListener(listener, configuration(o))
	}
	for {
		conn, err := listener.Accept()
		must(err)
		go func() {
			defer conn.Close()
			var seen []byte
			part := make([]byte, 4096)
			for !bytes.Contains(seen, []byte("\r\n\r\n")) {
				n, err := conn.Read(part)
				if err != nil {
					fmt.Println("server:", err)
					return
				}
				seen = append(seen, part[:n]...)
			}
			io.WriteString(conn, response)
		}()
	}
}

func connectOnce(where string, config *tls.Config) (result report) {
	conn, err := net.DialTimeout("tcp", where, 15*time.Second)
	if err != nil {
		result.Error = err.Error()
		return
	}
	defer conn.Close()
	result.port = conn.LocalAddr().(*net.TCPAddr).Port
	if config != nil {
		secure := tls.Client(conn, config)
		if err := secure.Handshake(); err != nil {
			result.Error = err.Error()
			return
		}
		state := secure.ConnectionState()
		result.Suite, result.Resumed = tls.CipherSuiteName(state.CipherSuite), &state.DidResume
		conn = secure
	}
	io.WriteString(conn, request)
	answer, err := io.ReadAll(conn)
	if err != nil {
		result.Error = err.Error()
	}
	result.Answered = bytes.Contains(bytes.ToUpper(answer), []byte("200 OK"))
	return
}

// All at once, each with a handshake of its own.
func connectMany(where string, config *tls.Config, count int, identities [][2]string) report {
	results := make(chan report)
	for i := 0; i < count; i++ {
		own, number := config, i
		if config != nil {
			own = config.Clone()
			own.ClientSessionCache = nil
		}
		if identities != nil {
			show(own, identities[i][0], identities[i][1])
		}
		go func() {
			result := connectOnce(where, own)
			result.number = number
			results <- result
		}()
	}
	all := report{Answered: true}
	for i := 0; i < count; i++ {
		result := <-results
		if identities != nil {
			all.Connections = append(all.Connections, [2]int{result.port, result.number})
		}
		all.Answered = all.Answered && result.Answered
		all.Suite = result.Suite
		if result.Error != "" {
			all.Error = result.Error
		}
	}
	return all
}

func main() {
	var o options
	must(json.Unmarshal([]byte(os.Args[1]), &o))
	where := net.JoinHostPort(o.Address, strconv.Itoa(o.Port))
	if o.Role == "server" {
		serve(o, where)
	}
	var config *tls.Config
	if o.Version != "" {
		config = configuration(o)
	}
	if o.Identities != nil {
		o.Count = len(o.Identities)
	}
	if o.Count > 1 {
		must(json.NewEncoder(os.Stdout).Encode(connectMany(where, config, o.Count, o.Identities)))
		return
	}
	result := connectOnce(where, config)
	if o.Resume {
		first := result
		result = connectOnce(where, config)
		result.Answered = result.Answered && first.Answered
	}
	must(json.NewEncoder(os.Stdout).Encode(result))
}
