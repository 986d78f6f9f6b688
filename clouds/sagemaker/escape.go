// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tags and metadata properties share one charset, [\p{L}\p{Z}\p{N}_.:/=+\-@]*,
// and a length in characters. What does not fit in is written as =XX for each
// byte, in upper case; so is "=" itself.

// maxTagValue is the longest value of a tag or a metadata property.
const maxTagValue = 256

// escape writes any text in the charset of tags.
func escape(text string) string {
	var b strings.Builder
	for _, c := range text {
		if c != '=' && inCharset(c) && c != utf8.RuneError {
			b.WriteRune(c)
			continue
		}
		for _, octet := range []byte(string(c)) {
			fmt.Fprintf(&b, "=%02X", octet)
		}
	}
	return b.String()
}

// unescape reads what [escape] writes. A "=" that begins no escape stands for
// itself: values made by hand may hold it.
func unescape(text string) string {
	if !strings.Contains(text, "=") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '=' && i+2 < len(text) {
			if hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func inCharset(c rune) bool {
	return unicode.IsLetter(c) || unicode.Is(unicode.Z, c) || unicode.IsNumber(c) || strings.ContainsRune("_.:/=+-@", c)
}

func allInCharset(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(c rune) bool { return !inCharset(c) }) < 0
}

// chunks spreads a text over as many values as it needs: key, key.2, key.3, …
// An empty text needs none.
func chunks(into map[string]string, key, text string) {
	rest := []rune(escape(text))
	for n := 1; len(rest) > 0; n++ {
		size := min(len(rest), maxTagValue)
		into[chunkKey(key, n)] = string(rest[:size])
		rest = rest[size:]
	}
}

// unchunk reads what [chunks] writes.
func unchunk(from map[string]string, key string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		part, ok := from[chunkKey(key, n)]
		if !ok {
			return unescape(b.String())
		}
		b.WriteString(part)
	}
}

func chunkKey(key string, n int) string {
	if n == 1 {
		return key
	}
	return fmt.Sprintf("%s.%d", key, n)
}
