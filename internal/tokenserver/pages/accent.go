// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"math"
	"strconv"
)

// minContrast is what text needs against its ground.
// https://www.w3.org/TR/WCAG22/#contrast-minimum
const minContrast = 4.5

// colour is red, green and blue from 0 to 255.
type colour [3]float64

var (
	white = colour{255, 255, 255}
	black = colour{0, 0, 0}
	// lightGround and darkGround are the darkest light and the lightest dark
	// that accent-coloured text stands on: --canvas and --tint of style.css.
	lightGround, darkGround = colour{227, 231, 251}, colour{32, 36, 58}
	lightCanvas, darkCanvas = colour{243, 244, 248}, colour{14, 16, 22}
)

// parseColour reads #rrggbb.
func parseColour(hex string) (colour, bool) {
	if len(hex) != 7 || hex[0] != '#' {
		return colour{}, false
	}
	n, err := strconv.ParseUint(hex[1:], 16, 32)
	return colour{float64(n >> 16), float64(n >> 8 & 0xff), float64(n & 0xff)}, err == nil
}

func (c colour) String() string {
	return fmt.Sprintf("#%02x%02x%02x", uint8(c[0]), uint8(c[1]), uint8(c[2]))
}

// mix is c with that share of other in it.
func (c colour) mix(other colour, share float64) colour {
	for i := range c {
		c[i] = math.Round(c[i]*(1-share) + other[i]*share)
	}
	return c
}

// luminance is as https://www.w3.org/TR/WCAG22/#dfn-relative-luminance says.
func (c colour) luminance() float64 {
	linear := func(v float64) float64 {
		if v /= 255; v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

func (c colour) contrast(other colour) float64 {
	a, b := c.luminance(), other.luminance()
	return (math.Max(a, b) + 0.05) / (math.Min(a, b) + 0.05)
}

// readable is c, mixed with toward just as far as it can be read on ground.
func (c colour) readable(ground, toward colour) colour {
	for share := 0.0; share < 1; share += 0.02 {
		if mixed := c.mix(toward, share); mixed.contrast(ground) >= minContrast {
			return mixed
		}
	}
	return toward
}

// AccentStyle is the style sheet of an organization's colour, #rrggbb; empty
// for anything else. Buttons have the colour itself, with black or white text,
// whichever is read better: one of the two always has enough contrast. Text in
// that colour is darkened or lightened until it can be read.
func AccentStyle(hex string) string {
	accent, ok := parseColour(hex)
	if !ok {
		return ""
	}
	on, pressed := white, accent.mix(black, 0.14)
	if accent.contrast(black) > accent.contrast(white) {
		on, pressed = black, accent.mix(white, 0.18)
	}
	light, dark := accent.readable(lightGround, black), accent.readable(darkGround, white)
	button := fmt.Sprintf("--button: %s; --button-strong: %s; --on-button: %s;", accent, pressed, on)
	return fmt.Sprintf(":root { %s --accent: %s; --accent-strong: %s; --glow: %s; }\n"+
		"@media (prefers-color-scheme: dark) {\n  :root { %s --accent: %s; --accent-strong: %s; --glow: %s; }\n}\n",
		button, light, light.mix(black, 0.2), accent.mix(lightCanvas, 0.86),
		button, dark, dark.mix(white, 0.25), accent.mix(darkCanvas, 0.8))
}
