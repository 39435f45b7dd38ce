// Reads .env texts as docker compose does: one JSON string a line in, one JSON object or null a line out.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		var text string
		if err := json.Unmarshal(in.Bytes(), &text); err != nil {
			panic(err)
		}
		values, err := dotenv.ParseWithLookup(strings.NewReader(text), nil)
		if err != nil {
			values = nil
		}
		if err := out.Encode(values); err != nil {
			panic(err)
		}
	}
}
