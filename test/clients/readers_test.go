// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/testenv"
)

// What the page on token delivery tells readers to write reads the token, and the
// next one once it is there.
func TestTheReadersOnThePageReadTheToken(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "token-delivery.md"))
	require.NoError(t, err)
	_, readers, found := strings.Cut(string(page), "In Go, Java, Python, Node and a shell")
	require.True(t, found)
	readers, _, _ = strings.Cut(readers, "\n## ")
	snippets := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(readers, -1) {
		snippets[block[1]] = block[2]
	}
	require.Len(t, snippets, 5)

	directory := t.TempDir()
	var sent string
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent = r.Header.Get("Authorization") }))
	t.Cleanup(api.Close)
	at := strings.NewReplacer("/var/run/connectedapps/token", directory, "https://…", api.URL)
	// run runs a program made of a snippet, and returns what it prints.
	run := func(name, program, command string, arguments ...string) string {
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte(at.Replace(program)), 0o600))
		out, err := exec.CommandContext(t.Context(), command, append(arguments, file)...).Output()
		require.NoError(t, err, "%s: %s", name, out)
		return string(out)
	}
	for _, token := range []string{"the-first", "the-second"} {
		now := time.Now()
		held := &refresher.Held{Token: &refresher.Token{AccessToken: token, IssuedAt: now, ExpiresAt: now.Add(time.Hour)}}
		require.NoError(t, refresher.FileOutput{Dir: atomicfile.Dir{Path: directory}}.Publish(held, nil))
		require.Equal(t, token, run("main.go", "package main\n\nimport \"os\"\n\nfunc main() {\n"+snippets["go"]+
			"\nif err != nil {\npanic(err)\n}\nos.Stdout.Write(token)\n}\n", "go", "run"))
		require.Equal(t, token, run("Reader.java", "class Reader {\npublic static void main(String[] arguments) throws Exception {\n"+
			snippets["java"]+"\nSystem.out.print(token);\n}\n}\n", "java"))
		require.Equal(t, token, run("reader.py", snippets["python"]+"\nprint(token, end='')\n", "python3"))
		require.Equal(t, token, run("reader.mjs", snippets["js"]+"\nprocess.stdout.write(token);\n", "node"))
		run("reader.sh", snippets["sh"], "sh", "-eu")
		require.Equal(t, "Bearer "+token, sent)
	}
}
