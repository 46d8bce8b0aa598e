// SPDX-License-Identifier: Apache-2.0

package user

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPasswordMatchesItsOwnHashAlone(t *testing.T) {
	t.Parallel()
	phc, err := HashPassword("correct horse battery staple")
	require.NoError(t, err)
	require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, phc)
	h, err := ParsePasswordHash(phc)
	require.NoError(t, err)
	assert.True(t, h.Matches("correct horse battery staple"))
	assert.False(t, h.Matches("correct horse battery stapl"))
	assert.False(t, h.Matches(""))
	assert.False(t, PasswordHash{}.Matches(""), "the zero value matches nothing")
	second, err := HashPassword("correct horse battery staple")
	require.NoError(t, err)
	assert.NotEqual(t, phc, second, "every hash has a salt of its own")
}

// The hash is what the reference command prints for: echo -n password | argon2 somesalt
// -id -t 2 -k 65536 -p 1 -e.
func TestAHashOfTheReferenceImplementationIsRead(t *testing.T) {
	t.Parallel()
	h, err := ParsePasswordHash("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	require.NoError(t, err)
	assert.True(t, h.Matches("password"))
}

func TestAHashThatIsNotOneIsRefused(t *testing.T) {
	t.Parallel()
	const salt, key = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for name, phc := range map[string]string{
		"empty":                       "",
		"plain text":                  "password",
		"another algorithm":           "$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + key,
		"another version":             "$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + key,
		"no parameters":               "$argon2id$v=19$$" + salt + "$" + key,
		"parameters in another order": "$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + key,
		"more memory than we allow":   "$argon2id$v=19$m=99999999,t=2,p=1$" + salt + "$" + key,
		"no pass":                     "$argon2id$v=19$m=65536,t=0,p=1$" + salt + "$" + key,
		"no lane":                     "$argon2id$v=19$m=65536,t=1,p=0$" + salt + "$" + key,
		"text after the parameters":   "$argon2id$v=19$m=65536,t=2,p=1x$" + salt + "$" + key,
		"a short salt":                "$argon2id$v=19$m=65536,t=2,p=1$c2E$" + key,
		"a salt with padding":         "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "=$" + key,
		"a short hash":                "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$CTFh",
		"a line end in the salt":      "$argon2id$v=19$m=65536,t=2,p=1$c29t\nZXNhbHQ$" + key,
		"a line end in the hash":      "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + key + "\n",
		"a seventh part":              "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + key + "$",
	} {
		_, err := ParsePasswordHash(phc)
		assert.ErrorContains(t, err, "reading password hash", name)
	}
}

func TestAPasswordMatchesHoweverItsLettersAreComposed(t *testing.T) {
	t.Parallel()
	phc, err := HashPassword("Noe\u0308l\u00a0secret")
	require.NoError(t, err)
	h, err := ParsePasswordHash(phc)
	require.NoError(t, err)
	assert.True(t, h.Matches("No\u00ebl secret"))
	assert.False(t, h.Matches("no\u00ebl secret"), "case counts")
	_, err = HashPassword("tab\there")
	require.ErrorContains(t, err, "hashing password: it has a control character")
}

func TestAPasswordWithoutBoundsIsNotHashed(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", strings.Repeat("x", MaxPasswordLength+1)} {
		_, err := HashPassword(password)
		assert.Error(t, err)
	}
}

func FuzzParsePasswordHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, phc string) {
		if h, err := ParsePasswordHash(phc); err == nil {
			require.Equal(t, phc, h.String(), "what is read is written the same")
		}
	})
}
