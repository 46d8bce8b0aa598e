// SPDX-License-Identifier: Apache-2.0

package text_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

func TestNamesThatAreOneAccount(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"upper and lower case":             {"ILKER", "ilker"},
		"composed and decomposed":          {"No\u00ebl", "NOE\u0308L"},
		"wide and narrow letters":          {"\uff2aSmith", "jsmith"},
		"several parts":                    {"J\u00fcrgen GROSS", "ju\u0308rgen gross"},
		"an address":                       {"Ada@Example.com", "ada@example.com"},
		"the Kelvin sign":                  {"\u212aelvin", "kelvin"},
		"sigma inside and at a word's end": {"\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c3"},
	} {
		a, err := text.Username(pair[0])
		require.NoError(t, err, name)
		b, err := text.Username(pair[1])
		require.NoError(t, err, name)
		require.Equal(t, b, a, name)
	}
}

func TestNamesThatAreTwoAccounts(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"with and without the dot of i":   {"ilker", "\u0131lker"},
		"with a dot over a capital I":     {"ilker", "\u0130lker"},
		"sharp s and ss":                  {"gro\u00df", "gross"},
		"with and without an accent":      {"noel", "no\u00ebl"},
		"one part and two":                {"firstlast", "first last"},
		"Latin and Cyrillic that look so": {"ada", "\u0430da"},
	} {
		a, err := text.Username(pair[0])
		require.NoError(t, err, name)
		b, err := text.Username(pair[1])
		require.NoError(t, err, name)
		require.NotEqual(t, b, a, name)
	}
}

func TestNamesThatAreRefusedNameTheCharacter(t *testing.T) {
	t.Parallel()
	const format = ", which is invisible and changes what is seen"
	const spaces = "has a space at its begin or end, or two in a row"
	for name, want := range map[string]string{
		"":                  "is empty",
		" ":                 spaces,
		" ada":              spaces,
		"ada ":              spaces,
		"ada  lovelace":     spaces,
		"ada\u00a0lovelace": `contains the character '\u00a0' (U+00A0), which a user name cannot have`,
		"ada\nlovelace":     "contains a control character (U+000A)",
		"ada\x00":           "contains a control character (U+0000)",
		"ada\u202eadmin":    "contains a format character (U+202E)" + format,
		"ada\u2066":         "contains a format character (U+2066)" + format,
		"a\u200bda":         "contains a format character (U+200B)" + format,
		"a\u200dda":         "contains a format character (U+200D)" + format,
		"a\u00adda":         "contains a format character (U+00AD)" + format,
		"\ufeffada":         "contains a format character (U+FEFF)" + format,
		"a\U000e0041da":     "contains a format character (U+E0041)" + format,
		"a\u2028da":         "contains a format character (U+2028)" + format,
		"ada\xff":           "is not valid UTF-8",
		"ada\u2603":         "contains the character '\u2603' (U+2603), which a user name cannot have",
		"\ufb01nn":          "contains the character '\ufb01' (U+FB01), which a user name cannot have",
		"a\u05d0":           "has a character where it cannot stand, or mixes right-to-left and left-to-right letters in one word",
	} {
		_, err := text.Username(name)
		require.EqualError(t, err, want, "%q", name)
	}
}

func TestOrganizationsAreNamedWithoutRegardToCaseAndForm(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"S\u00f6hne & Co\u2122": "so\u0308hne & CO\u2122", "ACME.example": "acme.example", " Acme ": "ACME",
	} {
		one, err := text.Name(name)
		require.NoError(t, err)
		other, err := text.Name(want)
		require.NoError(t, err)
		require.Equal(t, one, other)
	}
	dotless, err := text.Name("\u0131")
	require.NoError(t, err)
	require.NotEqual(t, "i", dotless)
	_, err = text.Name("")
	require.Error(t, err, "no name is no name")
}

func TestAPasswordHasOneFormHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"correct horse battery staple": "correct horse battery staple",
		" ~!@#$%^&*() ":                " ~!@#$%^&*() ",
		"Noe\u0308l":                   "No\u00ebl",
		"two\u00a0words":               "two words",
		"two\u3000words":               "two words",
		"Case And \uff37idth Stay":     "Case And \uff37idth Stay",
		"\U0001f511":                   "\U0001f511",
	} {
		got, err := text.Password(typed)
		require.NoError(t, err, "%q", typed)
		require.Equal(t, want, got)
	}
	for _, refused := range []string{"", "tab\there", "nul\x00", "\xff", "line\nend"} {
		_, err := text.Password(refused)
		require.Error(t, err, "%q", refused)
	}
}

func TestWhatPeopleSeeHoldsNothingInvisible(t *testing.T) {
	t.Parallel()
	for s, clean := range map[string]string{
		"plain, gr\u00fcn & \u05d0\u05d1": "plain, gr\u00fcn & \u05d0\u05d1",
		"Pay\u202eevil":                   "Payevil",
		"a\u2028b\u2029c":                 "abc",
		"a\r\n\x1b[31mb":                  "a[31mb",
		"zero\u200bwidth":                 "zerowidth",
		"bad\xff":                         "bad\ufffd",
	} {
		require.Equal(t, clean, text.Clean(s))
		require.Equal(t, s == clean, text.Shown(s) == nil, "%q", s)
	}
	require.Equal(t, "the 'aud' of ? is ?? a?b", text.Description("the \"aud\" of \u00fc is \r\n a\\b"))
}

func TestALineEndIsNoBase64(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"YWJj\n", "\r\nYWJj", "YW\nJj", "YW\rJj"} {
		_, err := text.DecodeBase64URL(s)
		require.ErrorIs(t, err, text.ErrLineEnd)
		_, err = text.DecodeBase64(base64.StdEncoding, s)
		require.ErrorIs(t, err, text.ErrLineEnd)
	}
	for s, good := range map[string]bool{"YWJj": true, "YWI": true, "YWI=": false, "YWJ": false, "Y W I": false} {
		_, err := text.DecodeBase64URL(s)
		require.Equal(t, good, err == nil, s)
	}
}

func TestRandomText(t *testing.T) {
	t.Parallel()
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, text.Random(32))
	require.Regexp(t, `^[0-9a-f]{32}$`, text.RandomHex(16))
	require.Regexp(t, `^[0-9A-Za-z]{43}$`, text.RandomBase62(43))
	first, second := text.Random(32), text.Random(32)
	require.NotEqual(t, first, second)
	seen := map[rune]bool{}
	for _, r := range text.RandomBase62(10_000) {
		seen[r] = true
	}
	require.Len(t, seen, 62, "every character is drawn")
}

// FuzzUsername checks that the form of a name is stable, shown as it is, and the
// same for every case.
func FuzzUsername(f *testing.F) {
	for _, seed := range []string{
		"ilker", "\u0131lker", "\u0130", "No\u00ebl", "Noe\u0308l", "first last", " a", "\uff21", "\u03a3\u03c2", "\u1e9e", "\u05d0b", "l\u00b7l", "a\u200db", "\u1fb3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded, err := text.Username(name)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		again, err := text.Username(folded)
		require.NoError(t, err)
		require.Equal(t, folded, again)
		require.NoError(t, text.Shown(folded))
		require.Equal(t, folded, strings.TrimSpace(folded))
	})
}

// FuzzPassword checks that the form of a password is stable and ASCII stays.
func FuzzPassword(f *testing.F) {
	for _, seed := range []string{"secret", "Noe\u0308l", "a\u3000b", "\x7f", "", "\ufdfa"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		prepared, err := text.Password(password)
		if err != nil {
			return
		}
		again, err := text.Password(prepared)
		require.NoError(t, err)
		require.Equal(t, prepared, again)
		if strings.IndexFunc(password, func(r rune) bool { return r > '~' }) < 0 {
			require.Equal(t, password, prepared)
		}
	})
}

// FuzzClean checks that what was cleaned may be shown, and that nothing else
// changes.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"plain", "a\u202eb", "\xff\x00", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean := text.Clean(s)
		require.NoError(t, text.Shown(clean))
		if text.Shown(s) == nil {
			require.Equal(t, s, clean)
		}
		require.Empty(t, strings.Trim(text.Description(s), " !#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"))
	})
}
