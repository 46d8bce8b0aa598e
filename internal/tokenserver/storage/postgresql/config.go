// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// connectTimeout is how long one try to connect may take, unless the URL says
// otherwise.
const connectTimeout = 5 * time.Second

// parameters of a URL that are ours, libpq's or pgx's to understand; a server takes
// others for settings of its own, which a pooler refuses.
var parameters = map[string]bool{
	"sslmode": true, "sslcert": true, "sslkey": true, "sslsni": true, "connect_timeout": true, "target_session_attrs": true,
	"host": true, "port": true, "application_name": true, "default_query_exec_mode": true, "statement_cache_capacity": true, "description_cache_capacity": true,
}

// Problem says what is wrong with a URL, and what to write instead; empty: nothing.
// It reads no file and never shows a password.
func Problem(text string) string {
	if text == "" {
		return "is required: where the database is, such as postgresql://tokenserver@db.example.com:5432/tokenserver?sslmode=verify-full"
	}
	u, err := url.Parse(text)
	if err != nil {
		// Its text would show the URL.
		return "must be a URL such as postgresql://tokenserver@db.example.com:5432/tokenserver"
	}
	if !strings.Contains(text, "://") {
		// What it is instead may be a password.
		return "must begin with postgresql://"
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return fmt.Sprintf("must begin with postgresql://, not %q", u.Scheme)
	}
	if _, ok := u.User.Password(); ok || u.Query().Has("password") {
		return "must not hold a password: put it in a file and name that in passwordFile"
	}
	switch {
	case u.User.Username() == "":
		return "must name a user, such as postgresql://tokenserver@..."
	case u.Host == "" && u.Query().Get("host") == "":
		return "must name a host, or the folder of a socket as ?host=/run/postgresql"
	case strings.Trim(u.Path, "/") == "":
		return "must name a database after the host, such as /tokenserver"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "must have a query of parameter=value pairs"
	}
	for name := range query {
		if name == "sslrootcert" {
			return "must not hold sslrootcert: name the file in caFile"
		}
		if !parameters[name] {
			return fmt.Sprintf("has an unknown parameter %.40q", name)
		}
	}
	query.Del("sslcert")
	query.Del("sslkey")
	u.RawQuery = query.Encode()
	if _, err := pgx.ParseConfig(u.String()); err != nil {
		return "cannot be used: " + causeOf(err)
	}
	return ""
}

// causeOf is the error without the URL before it.
func causeOf(err error) string {
	var parsing *pgconn.ParseConfigError
	if errors.As(err, &parsing) {
		if cause := errors.Unwrap(err); cause != nil {
			return cause.Error()
		}
	}
	return err.Error()
}

// Insecure tells that whoever is between here and the server can read, or stand in
// for the server.
func Insecure(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	mode := u.Query().Get("sslmode")
	return mode != "" && mode != "verify-full" && mode != "verify-ca" && !local(u)
}

// local tells that every host is this machine.
func local(u *url.URL) bool {
	hosts := u.Query().Get("host")
	if hosts == "" {
		hosts = u.Host
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && !strings.HasPrefix(host, "/") && (err != nil || !address.IsLoopback()) {
			return false
		}
	}
	return true
}

// config is the URL's, complete: nothing comes from the environment but where files
// of certificates are.
func (o Options) config() (*pgx.ConnConfig, error) {
	if problem := Problem(o.URL); problem != "" {
		return nil, errors.New("its URL " + problem)
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("its URL is none")
	}
	query := u.Query()
	if query.Get("sslmode") == "" {
		query.Set("sslmode", defaultMode(u))
	}
	if query.Get("target_session_attrs") == "" {
		// A standby takes connections too.
		query.Set("target_session_attrs", "read-write")
	}
	if query.Get("default_query_exec_mode") == "" {
		// No statement stays prepared, unless connection.chooseMode knows better: the
		// next may meet another connection behind a pooler. What a statement takes and
		// returns is asked for once.
		query.Set("default_query_exec_mode", "cache_describe")
	}
	if o.CAFile != "" {
		query.Set("sslrootcert", o.CAFile)
	}
	query.Set("passfile", os.DevNull)
	u.RawQuery = query.Encode()
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, errors.New(causeOf(err))
	}
	if !query.Has("connect_timeout") {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "tokenserver"
	}
	return config, nil
}

// defaultMode is verify-full where libpq's would let anybody in between.
func defaultMode(u *url.URL) string {
	if local(u) {
		return "prefer"
	}
	return "verify-full"
}

const maxPassword = 4 << 10

// readPassword reads the first line of a file.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the password of the database: %w", err)
	}
	password := bytes.TrimRight(content, "\r\n")
	// The error must not show it.
	if len(password) == 0 || len(password) > maxPassword || bytes.ContainsAny(password, "\r\n\x00") {
		return "", fmt.Errorf("%s must hold one line: the password of the database's user", path)
	}
	return string(password), nil
}

// CheckPasswordFile tells what is wrong with a password file.
func CheckPasswordFile(path string) error {
	_, err := readPassword(path)
	return err
}

// CheckCAFile tells what is wrong with a file of certificates; empty: there is none.
func CheckCAFile(path string) error {
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(content) {
		return fmt.Errorf("%s must hold certificates in PEM", path)
	}
	return nil
}

func address(config *pgx.ConnConfig) string {
	if strings.HasPrefix(config.Host, "/") {
		return config.Host
	}
	return net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
}

// RefusedError says that the server answers and will not let us in or do what we
// need, until somebody changes that. It is storage.ErrUnavailable as well.
type RefusedError struct {
	Err error
	// NoTLS tells that the server does not speak TLS, which the URL asks for.
	NoTLS bool
}

// Error implements error: the reason, without the other ways that were tried.
func (e *RefusedError) Error() string {
	var engine *pgconn.PgError
	switch {
	case errors.As(e.Err, &engine):
		return engine.Error()
	case e.NoTLS:
		return "the server does not speak TLS"
	}
	return e.Err.Error()
}

// Unwrap implements errors.Unwrap.
func (e *RefusedError) Unwrap() error { return e.Err }

// explain marks what waiting does not mend.
func explain(err error) error {
	refused := &RefusedError{Err: err}
	var engine *pgconn.PgError
	if !errors.Is(err, storage.ErrUnavailable) {
		return err
	}
	// What the server says counts, however it was reached.
	if errors.As(err, &engine) {
		switch engine.Code[:min(2, len(engine.Code))] {
		case "28", "3D", "42": // no such role or password, no such database, no right
			return refused
		}
		return err
	}
	// The driver's words for what target_session_attrs does not find.
	if strings.Contains(err.Error(), "read only connection") {
		return fmt.Errorf("it only reads: a standby, or default_transaction_read_only is on for the database or its user: %w", err)
	}
	var certificate *tls.CertificateVerificationError
	// Of verify-ca, which crypto/tls does not know.
	var authority x509.UnknownAuthorityError
	refused.NoTLS = strings.Contains(err.Error(), "server refused TLS connection")
	if refused.NoTLS || errors.As(err, &certificate) || errors.As(err, &authority) {
		return refused
	}
	return err
}
