// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// readConfig reads the tokens of a configuration file, whose members are the flags
// of a token in camelCase. Problems name the path of the member that they are
// about.
func readConfig(path string, getenv func(string) string) (tokens []Token, problems []error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{err}
	}
	document, err := decode(text)
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", path, err)}
	}
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
	}
	for _, name := range slices.Sorted(maps.Keys(document)) {
		if name != "tokens" {
			add("%s: there is no such member, only tokens", name)
		}
	}
	entries, ok := document["tokens"].([]any)
	if !ok || len(entries) == 0 {
		add("tokens: must be a list of at least one token")
		return nil, problems
	}
	for i, entry := range entries {
		at := fmt.Sprintf("tokens[%d]", i)
		members, ok := entry.(map[string]any)
		if !ok {
			add("%s: must be an object, such as {name: gitproxy, credentialsDir: ..., outputDir: ...}", at)
			continue
		}
		token, wrong := readToken(at, members, getenv)
		for _, err := range wrong {
			add("%w", err)
		}
		tokens = append(tokens, token)
	}
	for _, err := range apart(tokens) {
		add("%w", err)
	}
	return tokens, problems
}

// decode refuses members that are there twice.
func decode(text []byte) (map[string]any, error) {
	content, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " ")) // one line
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return nil, errors.New("must be an object with the member tokens")
	}
	return document, nil
}

// readToken sets the flag of each member of the entry at.
func readToken(at string, members map[string]any, getenv func(string) string) (token Token, problems []error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&token.Name, "name", "", "")
	token.tokenFlags(flags)
	known := map[string]*flag.Flag{}
	flags.VisitAll(func(f *flag.Flag) { known[camelCase(f.Name)] = f })
	for _, member := range slices.Sorted(maps.Keys(members)) {
		f, ok := known[member]
		if !ok {
			problems = append(problems, fmt.Errorf("%s.%s: there is no such member, only %s", at, member, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
			continue
		}
		value, err := textOf(f, members[member])
		if err == nil {
			err = f.Value.Set(value)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s.%s: %w", at, member, err))
		}
	}
	if token.Name == "" {
		problems = append(problems, fmt.Errorf("%s.name is required, to tell the token in logs and metrics", at))
	}
	return token, append(problems, token.problems(func(flag string) string { return at + "." + camelCase(flag) }, getenv)...)
}

// textOf writes a member as its flag would be.
func textOf(f *flag.Flag, value any) (string, error) {
	getter, _ := f.Value.(flag.Getter)
	number := false
	if getter != nil {
		_, number = getter.Get().(int)
	}
	switch v := value.(type) {
	case string:
		if !number {
			return v, nil
		}
	case json.Number:
		if number {
			return v.String(), nil
		}
	case map[string]any:
		if f.Name == "credentials-keys" {
			return pairs(v)
		}
	}
	switch {
	case number:
		return "", errors.New("must be a number")
	case f.Name == "credentials-keys":
		return "", errors.New("must be an object of texts, such as {client-id: ID}")
	}
	return "", errors.New("must be a text, in quotation marks when it looks like a number")
}

func pairs(keys map[string]any) (string, error) {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		file, ok := keys[name].(string)
		if !ok {
			return "", fmt.Errorf("%s: must be a text", name)
		}
		all = append(all, name+"="+file)
	}
	return strings.Join(all, ","), nil
}

// apart says which tokens have a name or a directory of another.
func apart(tokens []Token) (problems []error) {
	for i, token := range tokens {
		for j, other := range tokens[:i] {
			if token.Name != "" && token.Name == other.Name {
				problems = append(problems, fmt.Errorf("tokens[%d].name: %s is the name of tokens[%d] too", i, token.Name, j))
			}
			if token.Secret != "" && token.Secret == other.Secret && token.SecretNamespace == other.SecretNamespace {
				problems = append(problems, fmt.Errorf("tokens[%d].secret: %s is that of tokens[%d] too: give each token a Secret of its own", i, token.Secret, j))
			}
			if token.OutputDir == "" || other.OutputDir == "" {
				continue
			}
			if how := overlap(token.OutputDir, other.OutputDir); how != "" {
				problems = append(problems, fmt.Errorf("tokens[%d].outputDir: %s %s that of tokens[%d], %s: give each token a directory of its own",
					i, token.OutputDir, how, j, other.OutputDir))
			}
		}
		for j, other := range tokens {
			if i == j || token.OutputDir == "" || other.CredentialsDir == "" {
				continue
			}
			if how := overlap(token.OutputDir, other.CredentialsDir); how != "" {
				problems = append(problems, fmt.Errorf("tokens[%d].outputDir: %s %s credentialsDir of tokens[%d], %s: give each token a directory of its own",
					i, token.OutputDir, how, j, other.CredentialsDir))
			}
		}
	}
	return problems
}

// camelCase writes the name of a flag as a member: token-url is tokenURL.
func camelCase(name string) string {
	words := strings.Split(name, "-")
	for i, word := range words[1:] {
		switch word {
		case "url", "id":
			words[i+1] = strings.ToUpper(word)
		default:
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "")
}
