// SPDX-License-Identifier: Apache-2.0

package assertion_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

func TestSubjects(t *testing.T) {
	for sub, want := range map[string]assertion.Subject{
		"v2|idp|jsmith": {ProviderID: "idp", Username: "jsmith"},
		"v2|idp|jsmith|john|smith|jsmith@gmail.com|[community]": {
			ProviderID: "idp", Username: "jsmith", FirstName: "john", LastName: "smith", Email: "jsmith@gmail.com", Groups: []string{"community"},
		},
		"v2|idp|jsmith||||[]":           {ProviderID: "idp", Username: "jsmith"},
		"v2|idp|jsmith||||[a, b ,,c d]": {ProviderID: "idp", Username: "jsmith", Groups: []string{"a", "b", "c d"}},
		"v2|idp|Jürgen Groß":            {ProviderID: "idp", Username: "Jürgen Groß"},
	} {
		got, err := assertion.ParseSubject(sub)
		require.NoError(t, err, sub)
		require.Equal(t, want, got)
	}
}

func TestSubjectsThatAreRefused(t *testing.T) {
	for sub, message := range map[string]string{
		"":                              "sub has 1 parts, not 3 or 7",
		"jsmith":                        "sub has 1 parts, not 3 or 7",
		"v2|idp":                        "sub has 2 parts, not 3 or 7",
		"v2|idp|jsmith|john":            "sub has 4 parts, not 3 or 7",
		"v2|idp|jsmith|a|b|c":           "sub has 6 parts, not 3 or 7",
		"v2|idp|j|a|b|c|[d]|e":          "sub has 8 parts, not 3 or 7",
		"v1|idp|jsmith":                 "sub must begin with v2",
		"v2||jsmith":                    "sub names no identity provider",
		"v2|idp|":                       "the username in sub is empty",
		"v2|idp| jsmith":                "the username in sub has a space at its begin or end, or two in a row",
		"v2|idp|js\nmith":               "sub contains a control character (U+000A)",
		"v2|idp|js\x00mith":             "sub contains a control character (U+0000)",
		"v2|idp|js\u202emith":           "sub contains a format character (U+202E), which is invisible and changes what is seen",
		"v2|idp|j|Jo\u2066hn|b|c|[]":    "sub contains a format character (U+2066), which is invisible and changes what is seen",
		"v2|idp|j|a|b|c|[d\u200be]":     "sub contains a format character (U+200B), which is invisible and changes what is seen",
		"v2|idp|js\u2603":               "the username in sub contains the character '\u2603' (U+2603), which a user name cannot have",
		"v2|idp|j|a|b|c|d":              "the groups in sub must stand in one pair of brackets",
		"v2|idp|j|a|b|c|":               "the groups in sub must stand in one pair of brackets",
		"v2|idp|j|a|b|c|[d":             "the groups in sub must stand in one pair of brackets",
		"v2|idp|j|a|b|c|[[d]]":          "the groups in sub must stand in one pair of brackets",
		"v2|idp|j|a|b|c|[a][b]":         "the groups in sub must stand in one pair of brackets",
		"v2|idp|" + long:                "part 3 of sub is longer than 320 bytes",
		"v2|idp|j|a|b|c|[" + long + "]": "sub has more than 100 groups, or one longer than 320 bytes",
		"v2|idp|j|a|b|c|[" + strings.Repeat("g,", 101) + "]": "sub has more than 100 groups, or one longer than 320 bytes",
	} {
		_, err := assertion.ParseSubject(sub)
		require.EqualError(t, err, message, sub)
	}
}

var long = strings.Repeat("x", 321)

func FuzzParseSubject(f *testing.F) {
	for _, seed := range []string{"v2|idp|jsmith", "v2|idp|j|a|b|c|[d,e]", "v2|||||[", "v2|i|j|a|b|c|[[]]", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sub string) {
		s, err := assertion.ParseSubject(sub)
		if err != nil {
			return
		}
		require.NotEmpty(t, s.ProviderID)
		require.NotEmpty(t, s.Username)
		for _, part := range append([]string{s.ProviderID, s.Username, s.FirstName, s.LastName, s.Email}, s.Groups...) {
			require.NotContains(t, part, "|")
			require.NoError(t, text.Shown(part))
		}
		for _, group := range s.Groups {
			require.False(t, strings.ContainsAny(group, "[],"))
		}
		// What was read can be written and reads the same.
		again := strings.Join([]string{"v2", s.ProviderID, s.Username, s.FirstName, s.LastName, s.Email, "[" + strings.Join(s.Groups, ",") + "]"}, "|")
		reread, err := assertion.ParseSubject(again)
		require.NoError(t, err)
		require.Equal(t, s, reread)
	})
}
