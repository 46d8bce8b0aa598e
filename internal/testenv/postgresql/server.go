// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "postgres"
	// User is the role that owns the databases; it is no superuser.
	User = "tokenserver"
	// Password is that of User, with what must be escaped in a URL.
	Password = "p@ss/w:rd %41"
)

// Options change how a server is started.
type Options struct {
	// Durable syncs the disk at every commit, as production does. Without it a
	// test is faster, and what was committed survives the end of the server, not
	// that of the machine.
	Durable bool
	// Settings are further lines of postgresql.conf, such as "max_connections = 5".
	Settings []string
	// Certificate and Key, PEM, let it speak TLS as well; empty: it does not.
	Certificate, Key []byte
}

// Server is a PostgreSQL server on a port of the loopback address.
type Server struct {
	// Port is where it listens, also after a restart.
	Port int

	folder  string
	as      *syscall.Credential
	process *process
	// admin is a superuser's connection configuration.
	admin *pgx.ConnConfig
}

// Start starts a new server. Should this process end before Stop, however it
// does, the server ends with it and its data goes.
func Start(ctx context.Context, o Options) (*Server, error) {
	as, err := credential()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(as)
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, as: as}
	if err := s.initialise(ctx, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := s.Restart(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := s.Exec(ctx, superuser, `CREATE ROLE `+User+` LOGIN PASSWORD '`+Password+`'`); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// initialise makes the data folder. The collation is not bytewise, so that
// a test notices what relies on the database's.
func (s *Server) initialise(ctx context.Context, o Options) (err error) {
	initdb, err := program("initdb")
	if err != nil {
		return err
	}
	if s.Port, err = freePort(ctx); err != nil {
		return err
	}
	if s.admin, err = pgx.ParseConfig(s.url(superuser, superuser, superuser)); err != nil {
		return err
	}
	passwords := filepath.Join(s.folder, "password")
	if err := os.WriteFile(passwords, []byte(superuser+"\n"), 0o644); err != nil { //nolint:gosec // of a server for tests, for its user
		return err
	}
	cmd := exec.CommandContext(ctx, initdb, "-D", s.data(), "-U", superuser, "--pwfile="+passwords, "-A", "scram-sha-256",
		"-E", "UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en", "--no-sync", "--no-instructions")
	cmd.Dir, cmd.SysProcAttr = s.folder, &syscall.SysProcAttr{Credential: s.as}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initialising a database cluster: %w\n%s", err, output)
	}
	return s.configure(o)
}

func (s *Server) configure(o Options) error {
	settings := append([]string{
		"listen_addresses = '127.0.0.1'", "port = " + strconv.Itoa(s.Port), "unix_socket_directories = ''",
		"max_connections = 300", "shared_buffers = 32MB", "log_line_prefix = '%m %d '",
		// Deadlocks are found at once.
		"deadlock_timeout = 50ms",
	}, o.Settings...)
	if len(o.Certificate) > 0 {
		if err := errors.Join(s.put("server.crt", o.Certificate), s.put("server.key", o.Key)); err != nil {
			return err
		}
		settings = append(settings, "ssl = on")
	}
	if !o.Durable {
		settings = append(settings, "fsync = off", "full_page_writes = off", "synchronous_commit = off")
	}
	file, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strings.Join(settings, "\n") + "\n")
	return errors.Join(err, file.Close())
}

// put makes a file of the data folder that only the server reads.
func (s *Server) put(name string, content []byte) error {
	path := filepath.Join(s.data(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil || s.as == nil {
		return err
	}
	return os.Chown(path, int(s.as.Uid), int(s.as.Gid))
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// Restart starts the server again on its data, after Halt or Kill.
func (s *Server) Restart(ctx context.Context) error {
	postgres, err := program("postgres")
	if err != nil {
		return err
	}
	if s.process, err = begin(s.as, s.folder, "QUIT", postgres, "-D", s.data()); err != nil {
		return err
	}
	err = s.process.await(ctx, func(ctx context.Context) error { return s.Exec(ctx, superuser, `SELECT 1`) })
	if err != nil {
		return errors.Join(err, s.process.end(true))
	}
	return nil
}

// Stop ends the server and removes its data.
func (s *Server) Stop() error { return s.process.end(false) }

// Halt ends the server at once, without a checkpoint, as a crash of it does, and
// keeps its data for Restart.
func (s *Server) Halt() error { return s.process.end(true) }

// Freeze stops every process of the server (SIGSTOP): connections stay open and new
// ones are taken, and nobody answers.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets it go on after Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

// signal sends one to the server's first process and to those it has started, in
// this order, so that none is started in between.
func (s *Server) signal(sig syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return fmt.Errorf("finding the process of the server: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return fmt.Errorf("finding the process of the server: %w", err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("sending %s to the server: %w", sig, err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return err
	}
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, sig) // it may have ended
		}
	}
	return nil
}

// URL leads to a database as User, with the password.
func (s *Server) URL(database string) string { return s.url(User, Password, database) }

func (s *Server) url(user, password, database string) string {
	return connectionURL(user, password, s.Port, database)
}

func connectionURL(user, password string, port int, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Exec runs a statement as the superuser.
func (s *Server) Exec(ctx context.Context, database, statement string) error {
	conn, err := s.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// Connect connects as the superuser.
func (s *Server) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	config := s.admin.Copy()
	config.Database = database
	return pgx.ConnectConfig(ctx, config)
}

// Create makes a database that belongs to User, a copy of template; empty: an
// empty one.
func (s *Server) Create(ctx context.Context, database, template string) error {
	if template == "" {
		template = "template0"
	}
	// Copying files is faster than writing them to the log, but for a checkpoint,
	// which costs nothing without fsync.
	return s.Exec(ctx, superuser, fmt.Sprintf(`CREATE DATABASE %s OWNER %s TEMPLATE %s STRATEGY file_copy`, database, User, template))
}

// Drop removes a database and ends its connections.
func (s *Server) Drop(ctx context.Context, database string) error {
	return s.Exec(ctx, superuser, `DROP DATABASE IF EXISTS `+database+` WITH (FORCE)`)
}
