// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// initFlags are the flags of config init.
type initFlags struct {
	publicURL   string
	username    string
	askPassword bool
}

func configInitCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a configuration that serves, with its keys and a first user",
		Long: `init writes a configuration into DIR (default: the folder you are in) that serves
as it is, and every file it names, each readable by you alone:

  tokenserver.yaml   one organization, an environment, a user who is its administrator
  encryption-key     encrypts the keys in the database; keep a copy apart from it
  client-secret      the secret of the administrator's client, for programs
  user.hash          the hash of the user's password

It overwrites nothing. The password is generated and shown once, or asked for
with --ask-password. Afterwards it prints how to start, sign in and get a token.

With an https --public-url the server listens on 127.0.0.1:8080 without TLS, for
a proxy on this machine; give tlsCertFile and tlsKeyFile in the file otherwise.`,
		Example: `  tokenserver config init && tokenserver serve
  tokenserver config init --public-url=http://localhost:9090 ~/tokenserver
  tokenserver config init --ask-password --username=alice`,
		Args: cobra.MaximumNArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if problem := tokenserveroptions.PublicURLProblem(f.publicURL); problem != "" {
				return errors.New("--public-url " + problem)
			}
			if !usernameForm.MatchString(f.username) {
				return errors.New("--username must be 1 to 64 letters, digits, dots, hyphens or underscores in ASCII")
			}
			return nil
		},
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return initialize(cmd, f, folderOf(args))
		}),
	}
	cmd.Flags().StringVar(&f.publicURL, "public-url", "http://localhost:8080", "how clients reach the server: scheme, host and port")
	cmd.Flags().StringVar(&f.username, "username", "admin", "name of the first user")
	cmd.Flags().BoolVar(&f.askPassword, "ask-password", false,
		"ask for the password on the terminal, or read the first line of standard input (default false: generate one)")
	return cmd
}

var usernameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// installation is what init fills its texts with.
type installation struct {
	Dir, PublicURL, Listen, OperationsListen string
	OrgID, EnvironmentID, UserID, Username   string
	Generated                                string // the password; empty when it was asked for
}

const (
	initClientID  = "connectedapps-manager"
	fileConfig    = "tokenserver.yaml"
	fileKey       = "encryption-key"
	fileSecret    = "client-secret"
	fileHash      = "user.hash"
	fileDatabase  = "tokenserver.db"
	passwordBytes = 15
)

func initialize(cmd *cobra.Command, f initFlags, dir string) error {
	if err := refuseExisting(dir); err != nil {
		return err
	}
	i := newInstallation(f, dir)
	password, err := i.password(f, cmd)
	if err != nil {
		return err
	}
	files, err := i.files(password)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	if _, err := tokenserveroptions.Load(filepath.Join(dir, fileConfig), tokenserveroptions.Overrides{}); err != nil {
		return fmt.Errorf("checking what was written: %w", err)
	}
	return i.explain(cmd.OutOrStdout())
}

// refuseExisting names what init would overwrite. A database belongs to keys
// that are not made here.
func refuseExisting(dir string) error {
	var there []string
	for _, name := range []string{fileConfig, fileKey, fileSecret, fileHash, fileDatabase} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			there = append(there, filepath.Join(dir, name))
		}
	}
	if len(there) == 0 {
		return nil
	}
	return &failure{
		err:  fmt.Errorf("writing a configuration: %s: already there, and nothing is overwritten", strings.Join(there, ", ")),
		hint: "name another folder: tokenserver config init DIR",
	}
}

func newInstallation(f initFlags, dir string) *installation {
	i := &installation{
		Dir: dir, PublicURL: f.publicURL, Listen: tokenserveroptions.ListenFor(f.publicURL), OperationsListen: tokenserveroptions.DefaultOperationsListen,
		OrgID: uuid.NewString(), EnvironmentID: uuid.NewString(), UserID: uuid.NewString(), Username: f.username,
	}
	if i.Listen == i.OperationsListen {
		i.OperationsListen = "127.0.0.1:8082"
	}
	return i
}

func (i *installation) password(f initFlags, cmd *cobra.Command) (string, error) {
	if f.askPassword {
		return readPassword(cmd.InOrStdin(), cmd.ErrOrStderr())
	}
	i.Generated = base64.RawURLEncoding.EncodeToString(random(passwordBytes))
	return i.Generated, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// file is one that init writes.
type file struct{ name, content string }

func (i *installation) files(password string) ([]file, error) {
	hash, err := user.HashPassword(password)
	if err != nil {
		return nil, err
	}
	return []file{
		{fileKey, base64.StdEncoding.EncodeToString(random(keys.KeySize)) + "\n"},
		// Without a line end: curl sends the file as it is.
		{fileSecret, base64.RawURLEncoding.EncodeToString(random(keys.KeySize))},
		{fileHash, hash + "\n"},
		{fileConfig, i.fill(configTemplate)},
	}, nil
}

// writeNew writes all files or none.
func writeNew(dir string, files []file) error {
	for n, f := range files {
		if err := create(filepath.Join(dir, f.name), f.content); err != nil {
			for _, written := range files[:n] {
				_ = os.Remove(filepath.Join(dir, written.name))
			}
			return fmt.Errorf("writing a configuration: %w", err)
		}
	}
	return nil
}

func create(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}

func (i *installation) explain(w io.Writer) error {
	_, err := io.WriteString(w, i.fill(explanation))
	return err
}

// fill fills the places of a text. It is no template of the library, which keeps the
// linker from leaving out what nothing calls: a tenth of this binary.
func (i *installation) fill(text string) string {
	path := func(name string) string { return filepath.Join(i.Dir, name) }
	passwordLine := ""
	if i.Generated != "" {
		passwordLine = "  password: " + i.Generated + "   (shown this once)\n"
	}
	return strings.NewReplacer(
		"$SHELL_URL", shellQuoted(i.PublicURL), "$SHELL_CONFIG", shellQuoted(path(fileConfig)), "$SHELL_SECRET", shellQuoted(path(fileSecret)),
		"$PUBLIC_URL", i.PublicURL, "$LISTEN", i.Listen, "$OPERATIONS", i.OperationsListen,
		"$ORGANIZATION", i.OrgID, "$ENVIRONMENT", i.EnvironmentID, "$USER_ID", i.UserID, "$USERNAME", i.Username, "$PASSWORD_LINE", passwordLine,
		"$CONFIG", path(fileConfig), "$KEY", path(fileKey), "$SECRET", path(fileSecret), "$HASH", path(fileHash),
	).Replace(text)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// shellQuoted is a word as a POSIX shell reads it.
func shellQuoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func folderOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}
