// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/hack/release/program"
)

const (
	noAssertion = "NOASSERTION"
	// mediaTypeSBOM is registered with IANA.
	mediaTypeSBOM = "application/spdx+json"
)

// What a binary has in it, as SPDX 2.3.
// https://spdx.github.io/spdx-spec/v2.3/
type (
	sbomDocument struct {
		SPDXVersion       string             `json:"spdxVersion"`
		DataLicense       string             `json:"dataLicense"`
		ID                string             `json:"SPDXID"`
		Name              string             `json:"name"`
		DocumentNamespace string             `json:"documentNamespace"`
		CreationInfo      sbomCreation       `json:"creationInfo"`
		Packages          []sbomPackage      `json:"packages"`
		Relationships     []sbomRelationship `json:"relationships"`
	}
	sbomCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	sbomPackage struct {
		Name             string         `json:"name"`
		ID               string         `json:"SPDXID"`
		VersionInfo      string         `json:"versionInfo"`
		Purpose          string         `json:"primaryPackagePurpose,omitempty"`
		DownloadLocation string         `json:"downloadLocation"`
		FilesAnalyzed    bool           `json:"filesAnalyzed"`
		Checksums        []sbomChecksum `json:"checksums,omitempty"`
		LicenseConcluded string         `json:"licenseConcluded"`
		LicenseDeclared  string         `json:"licenseDeclared"`
		CopyrightText    string         `json:"copyrightText"`
		ExternalRefs     []sbomRef      `json:"externalRefs,omitempty"`
	}
	sbomChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	sbomRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	sbomRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

// licences finds those of modules, each once.
type licences struct {
	source source
	// root has hack/licences.
	root  string
	known map[string]string // by the path of the module
}

// learn has hack/licences look at the modules' folders.
func (l *licences) learn(ctx context.Context, modules []*debug.Module) error {
	var unknown []string
	for _, m := range modules {
		if _, ok := l.known[m.Path]; !ok {
			unknown = append(unknown, m.Path)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	// The modules were downloaded to be built.
	dirs, err := output(l.source.command(ctx, "go", append([]string{"list", "-m", "-f", "{{.Dir}}"}, unknown...)...))
	if err != nil {
		return err
	}
	look := l.source.command(ctx, "go", append([]string{"run", "./hack/licences"}, strings.Split(dirs, "\n")...)...)
	look.Dir = l.root
	found, err := output(look)
	if err != nil {
		return err
	}
	ids := strings.Split(found, "\n")
	if len(ids) != len(unknown) {
		return fmt.Errorf("hack/licences tells %d licences of %d modules", len(ids), len(unknown))
	}
	if l.known == nil {
		l.known = map[string]string{}
	}
	for i, path := range unknown {
		l.known[path] = ids[i]
	}
	return nil
}

// sbomOf lists the modules that a binary says it was made of, and what else its
// image has.
func sbomOf(ctx context.Context, s source, file, name string, platform program.Platform, known *licences, others ...sbomPackage) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := known.learn(ctx, info.Deps); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	full := fmt.Sprintf("%s-%s-%s-%s", name, s.version, platform.OS, platform.Arch)
	document := sbomDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: full,
		DocumentNamespace: homePage + "/spdx/" + full + "-" + digest[:16],
		CreationInfo:      sbomCreation{Created: s.created.Format(time.RFC3339), Creators: []string{"Organization: Connected Apps", "Tool: hack/release"}},
	}
	main := goPackage(info.Path, s.version, licence)
	main.Purpose, main.Checksums = "APPLICATION", []sbomChecksum{{"SHA256", digest}}
	goVersion := strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")
	parts := append([]sbomPackage{goPackage("stdlib", goVersion, "BSD-3-Clause")}, others...)
	for _, m := range info.Deps {
		built := m
		if m.Replace != nil {
			built = m.Replace
		}
		parts = append(parts, goPackage(built.Path, built.Version, known.known[m.Path]))
	}
	slices.SortFunc(parts, func(a, b sbomPackage) int { return cmp.Compare(a.ID, b.ID) })
	document.Packages = append([]sbomPackage{main}, parts...)
	document.Relationships = []sbomRelationship{{document.ID, "DESCRIBES", main.ID}}
	for _, part := range parts {
		document.Relationships = append(document.Relationships, sbomRelationship{main.ID, "DEPENDS_ON", part.ID})
	}
	text, err := json.MarshalIndent(document, "", "  ")
	return append(text, '\n'), err
}

func goPackage(path, version, declared string) sbomPackage {
	if declared == "" || declared == "missing" || declared == "unknown" {
		declared = noAssertion
	}
	return sbomPackage{
		Name: path, VersionInfo: version, ID: "SPDXRef-" + identifier(path+"-"+version),
		DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: declared, CopyrightText: noAssertion,
		ExternalRefs: []sbomRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + strings.ReplaceAll(path, "+", "%2B") + "@" + strings.ReplaceAll(version, "+", "%2B")}},
	}
}

// rootsPackage is the list of authorities in images, at the version of this module.
func rootsPackage() (sbomPackage, error) {
	info, _ := debug.ReadBuildInfo()
	const path = "golang.org/x/crypto/x509roots/fallback"
	if info != nil {
		for _, m := range info.Deps {
			if m.Path == path {
				return goPackage(path, m.Version, "BSD-3-Clause"), nil
			}
		}
	}
	return sbomPackage{}, fmt.Errorf("this program does not know its version of %s: build it from its module", path)
}

// identifier has letters, digits, dots and dashes alone.
func identifier(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, text)
}
