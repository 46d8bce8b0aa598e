// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
)

// BrandingConfig is how an organization presents itself on the pages of its
// apps. Every field may be left out.
type BrandingConfig struct {
	// Name is shown in place of the product's.
	Name string `yaml:"name"`
	// LogoFile is a PNG or SVG picture.
	LogoFile string `yaml:"logoFile"`
	// AccentColor is #rrggbb.
	AccentColor string `yaml:"accentColor"`
	// HelpContact is a mail address or an https address.
	HelpContact string `yaml:"helpContact"`
}

// Branding is a checked BrandingConfig. The zero value changes nothing.
type Branding struct {
	Name, AccentColor, HelpContact string
	// Logo is nil when there is none.
	Logo *Logo
}

// Logo is a picture.
type Logo struct {
	Content []byte
	// Type is image/png or image/svg+xml.
	Type string
	// Hash is the beginning of the SHA-256 of the content, in hex.
	Hash string
}

// MaxLogo is the size of the largest logo, in bytes.
const MaxLogo = 64 << 10

var colourForm = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// branding checks c and reads its logo, which is not looked at when the Config
// has no ReadFile.
func (b *builder) branding(path string, c BrandingConfig) Branding {
	b.text(path+".name", c.Name, false)
	if c.AccentColor != "" && !colourForm.MatchString(c.AccentColor) {
		b.addf(path+".accentColor", "must be a colour such as #4050d4, not %q", c.AccentColor)
	}
	if c.HelpContact != "" && !isContact(c.HelpContact) {
		b.addf(path+".helpContact", "must be a mail address or an https address, not %q", c.HelpContact)
	}
	branding := Branding{Name: c.Name, AccentColor: strings.ToLower(c.AccentColor), HelpContact: c.HelpContact}
	if c.LogoFile == "" || b.config.ReadFile == nil {
		return branding
	}
	content, err := b.config.ReadFile(c.LogoFile)
	if err == nil {
		branding.Logo, err = newLogo(content)
	}
	if err != nil {
		b.addf(path+".logoFile", "%v", err)
	}
	return branding
}

func isContact(s string) bool {
	if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	if u, err := url.Parse(s); err == nil && u.Scheme != "" {
		return u.Scheme == "https" && u.Hostname() != "" && u.User == nil
	}
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s && !strings.ContainsAny(s, "?&%#")
}

func newLogo(content []byte) (*Logo, error) {
	if len(content) > MaxLogo {
		return nil, fmt.Errorf("the picture is larger than %d KiB", MaxLogo>>10)
	}
	sum := sha256.Sum256(content)
	logo := &Logo{Content: content, Hash: hex.EncodeToString(sum[:6])}
	switch {
	case isPNG(content):
		logo.Type = "image/png"
	case isSVG(content):
		logo.Type = "image/svg+xml"
	default:
		return nil, errors.New("the picture must be a PNG or an SVG")
	}
	return logo, nil
}

func isPNG(content []byte) bool {
	_, err := png.DecodeConfig(bytes.NewReader(content))
	return err == nil
}

// isSVG tells whether the first element is svg. What else is in it cannot harm:
// it is shown as an image and served in a sandbox.
func isSVG(content []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name.Local == "svg" && start.Name.Space == "http://www.w3.org/2000/svg"
		}
	}
}
