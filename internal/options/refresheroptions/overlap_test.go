// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The output would take the credentials' files away.
func TestDirectoriesThatOverlapAreRefused(t *testing.T) {
	base := t.TempDir()
	creds := filepath.Join(base, "creds")
	require.NoError(t, os.MkdirAll(filepath.Join(creds, "inner"), 0o755))
	link := filepath.Join(base, "link")
	require.NoError(t, os.Symlink("creds", link))
	t.Chdir(base)
	for name, test := range map[string]struct{ output, want string }{
		"the same text":                {creds, "is the same directory as"},
		"a trailing slash":             {creds + "/", "is the same directory as"},
		"by way of another":            {filepath.Join(base, "other") + "/../creds", "is the same directory as"},
		"relative":                     {"creds", "is the same directory as"},
		"a link":                       {link, "is the same directory as"},
		"inside":                       {filepath.Join(creds, "inner"), "is inside"},
		"inside, and not there yet":    {filepath.Join(creds, "a", "b"), "is inside"},
		"inside by a link, not there":  {filepath.Join(link, "a"), "is inside"},
		"the directory that holds it":  {base, "holds"},
		"the root":                     {"/", "holds"},
		"beside":                       {filepath.Join(base, "out"), ""},
		"beside, of a name that grows": {creds + "-out", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]string{"--credentials-dir", creds, "--output-dir", test.output}, noEnv, nil)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "--output-dir "+test.output+" "+test.want+" --credentials-dir "+creds+
				", whose files it would replace: give the token a directory of its own")
		})
	}
}
