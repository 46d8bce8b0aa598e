// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStartErrorsSayWhatWhyAndWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		prepare    func(s *site)
		want, hint string
	}{
		"no configuration": {
			func(s *site) { require.NoError(s.t, os.Remove(s.path("tokenserver.yaml"))) },
			"tokenserver: loading tokenserver.yaml: reading the configuration: open tokenserver.yaml: no such file or directory",
			"--config names the file; `tokenserver config init` writes one",
		},
		"a corrupt configuration": {
			func(s *site) { s.write("tokenserver.yaml", "publicURL: [\n") },
			"tokenserver: loading tokenserver.yaml: line 1: is not YAML", "tokenserver config check FILE",
		},
		"several problems": {
			func(s *site) { s.edit("publicURL: http://", "publicUrl: http://"); s.edit("name: Main", "name: ''") },
			"3 problems\n  publicURL: is required: how clients reach the server, such as https://id.example.com\n" +
				"  line 1: publicUrl: unknown field; did you mean publicURL?\n  line 8: organizations[0].name: is required\n", "correct the file",
		},
		"a missing encryption key": {
			func(s *site) { require.NoError(s.t, os.Remove(s.path("encryption-key"))) },
			"encryptionKeyFiles[0]: reading encryption key: stat encryption-key: no such file", "correct the file",
		},
		"a missing secret": {
			func(s *site) { require.NoError(s.t, os.Remove(s.path("client-secret"))) },
			"bootstrap.adminClient.clientSecretFile: open client-secret: no such file", "correct the file",
		},
		"a missing folder for the database": {
			func(s *site) { s.edit("path: tokenserver.db", "path: data/tokenserver.db") },
			"tokenserver: opening database data/tokenserver.db: its folder data does not exist", "make the folder",
		},
		"a database that is none": {
			func(s *site) { s.write("tokenserver.db", strings.Repeat("this is no database ", 100)) },
			"file is not a database", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			test.prepare(s)
			_, stderr, code := s.command("", "serve")
			require.Equal(t, 1, code, stderr)
			require.Contains(t, stderr, test.want)
			require.NotContains(t, stderr, "start the database", "it is a file")
			if test.hint != "" {
				require.Contains(t, stderr, "\nhint: ")
				require.Contains(t, stderr, test.hint)
			}
			require.NotContains(t, stderr, canary)
		})
	}
}

func TestAWrongEncryptionKeyIsRefusedAndHarmsNothing(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	r.terminate()
	require.Zero(t, r.exit())

	good, err := os.ReadFile(s.path("encryption-key"))
	require.NoError(t, err)
	s.write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32)))
	_, stderr, code := s.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening the keys of database tokenserver.db: no encryption key fits this database")
	require.Contains(t, stderr, "hint: put the key that this database was made with back")

	s.write("encryption-key", string(good))
	status, _ := s.start().ready().token(canary)
	require.Equal(t, http.StatusOK, status)
}

func TestAFolderThatMayNotBeWrittenIsNamed(t *testing.T) {
	s := newSite(t)
	data := t.TempDir()
	s.edit("path: tokenserver.db", "path: "+filepath.Join(data, "tokenserver.db"))
	cmd := exec.CommandContext(t.Context(), binary, "serve")
	if os.Geteuid() == 0 {
		// Nothing is forbidden to root: somebody else tries.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			require.NoError(t, os.Chmod(dir, 0o755))
		}
		for _, file := range []string{"tokenserver.yaml", "encryption-key", "client-secret"} {
			require.NoError(t, os.Chown(s.path(file), 65534, 65534))
		}
	}
	require.NoError(t, os.Chmod(data, 0o555))
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening database "+filepath.Join(data, "tokenserver.db")+": open ")
	require.Contains(t, stderr, "permission denied\nhint: let the user that runs tokenserver read its files and write the folder")
}

func TestNoRoomForTheDatabaseIsSaid(t *testing.T) {
	s := newSite(t)
	// 8 KiB: enough to begin, too little for the schema.
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `ulimit -f 8; exec "$0" serve`, binary)
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, 1, code, stderr)
	require.Contains(t, stderr, "tokenserver: opening database tokenserver.db: ")
	require.Contains(t, stderr, "\nhint: free space on the file system of the database")
	require.NotContains(t, stderr, "goroutine")

	s.start().ready()
}

func TestAPortInUseIsNamed(t *testing.T) {
	s := newSite(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	s.edit("operationsListen: 127.0.0.1:0", "operationsListen: "+taken.Addr().String())
	_, stderr, code := s.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: listening for operations: listen tcp "+taken.Addr().String()+": bind: address already in use\nhint: another process listens there")
	s.start("--operations-listen=127.0.0.1:0").ready()
}
