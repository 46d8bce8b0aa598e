// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/directory"
)

func TestBrandingIsCheckedAndItsLogoRead(t *testing.T) {
	t.Parallel()
	var picture bytes.Buffer
	require.NoError(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 2, 2))))
	files := map[string]string{
		"logo.png": picture.String(), "logo.svg": `<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>`,
		"page.svg": `<html xmlns="http://www.w3.org/1999/xhtml"/>`, "large.png": string(make([]byte, directory.MaxLogo+1)), "text.png": "hello",
	}
	build := func(branding directory.BrandingConfig) (*directory.Directory, []directory.Problem) {
		c := config()
		c.Organizations[0].Branding = branding
		c.ReadFile = func(file string) ([]byte, error) {
			if content, ok := files[file]; ok {
				return []byte(content), nil
			}
			return nil, os.ErrNotExist
		}
		return c.Build(readHash)
	}
	for file, want := range map[string]string{"logo.png": "image/png", "logo.svg": "image/svg+xml"} {
		for _, contact := range []string{"help@acme.example", "https://acme.example/help", ""} {
			d, problems := build(directory.BrandingConfig{Name: "Acme", LogoFile: file, AccentColor: "#4050D4", HelpContact: contact})
			require.Empty(t, problems)
			got := d.Organizations()[0].Branding
			assert.Equal(t, want, got.Logo.Type)
			assert.Len(t, got.Logo.Hash, 12)
			assert.Equal(t, "#4050d4", got.AccentColor)
			assert.Equal(t, contact, got.HelpContact)
		}
	}
	for want, bad := range map[string]directory.BrandingConfig{
		"organizations[0].branding.name: contains a control character (U+000A)":                                         {Name: "a\nb"},
		"organizations[0].branding.accentColor: must be a colour such as #4050d4, not \"red\"":                          {AccentColor: "red"},
		"organizations[0].branding.helpContact: must be a mail address or an https address, not \"http://a\"":           {HelpContact: "http://a"},
		"organizations[0].branding.helpContact: must be a mail address or an https address, not \"javascript:x@a\"":     {HelpContact: "javascript:x@a"},
		"organizations[0].branding.helpContact: must be a mail address or an https address, not \"a@b.example?cc=x@y\"": {HelpContact: "a@b.example?cc=x@y"},
		"organizations[0].branding.logoFile: the picture must be a PNG or an SVG":                                       {LogoFile: "text.png"},
		"organizations[0].branding.logoFile: the picture is larger than 64 KiB":                                         {LogoFile: "large.png"},
		"organizations[0].branding.logoFile: file does not exist":                                                       {LogoFile: "gone.png"},
	} {
		_, problems := build(bad)
		require.Len(t, problems, 1, want)
		assert.Equal(t, want, problems[0].Path+": "+problems[0].Message)
	}
	_, problems := build(directory.BrandingConfig{LogoFile: "page.svg"})
	require.Len(t, problems, 1, "an SVG that is something else")
}
