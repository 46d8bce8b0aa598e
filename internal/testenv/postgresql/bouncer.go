// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Bouncer is a pgbouncer in transaction mode before a Server: two transactions of
// one client, and two statements outside one, may meet different connections.
type Bouncer struct {
	// Port is where it listens.
	Port    int
	process *process
}

// StartBouncer starts one that holds at most so many connections to each
// database.
func (s *Server) StartBouncer(ctx context.Context, connections int) (_ *Bouncer, err error) {
	pgbouncer, err := program("pgbouncer")
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(s.as)
	if err != nil {
		return nil, err
	}
	b := &Bouncer{}
	if b.Port, err = freePort(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := b.configure(folder, s.Port, connections); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if b.process, err = begin(s.as, folder, "TERM", pgbouncer, "-q", filepath.Join(folder, "pgbouncer.ini")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	err = b.process.await(ctx, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, b.url(superuser, superuser, superuser))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

func (b *Bouncer) configure(folder string, server, connections int) error {
	users := fmt.Sprintf("\"%s\" \"%s\"\n\"%s\" \"%s\"\n", User, Password, superuser, superuser)
	settings := strings.Join([]string{
		"[databases]", fmt.Sprintf("* = host=127.0.0.1 port=%d", server),
		"[pgbouncer]", "listen_addr = 127.0.0.1", fmt.Sprintf("listen_port = %d", b.Port), "unix_socket_dir =",
		"auth_type = scram-sha-256", "auth_file = " + filepath.Join(folder, "users"),
		"pool_mode = transaction", fmt.Sprintf("default_pool_size = %d", connections), "max_client_conn = 1000", "",
	}, "\n")
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "users"), []byte(users), 0o644),            //nolint:gosec // of a server for tests, for its user
		os.WriteFile(filepath.Join(folder, "pgbouncer.ini"), []byte(settings), 0o644), //nolint:gosec // likewise
	)
}

// URL leads to a database as User through b.
func (b *Bouncer) URL(database string) string { return b.url(User, Password, database) }

func (b *Bouncer) url(user, password, database string) string {
	return connectionURL(user, password, b.Port, database)
}

// Stop ends it.
func (b *Bouncer) Stop() error { return b.process.end(false) }
