"""Asks python-dotenv, node's dotenv and docker compose how they read `.env` texts.

Usage: answers.py TEXTS OUTPUT NODE_MODULES COMPOSE SEED COUNT

TEXTS and OUTPUT have one JSON object a line, each with a "text" that sets the variable V. In OUTPUT every
text has the value that each program reads for V, or null. With COUNT above 0 so many generated texts follow,
which the seed decides. COMPOSE is a program that reads one JSON string a line and answers with one JSON
object of all variables, or null. Without it ("-") TEXTS keep their answers for "compose", and generated texts
say "without_compose".
"""

import io
import json
import logging
import random
import subprocess
import sys

import dotenv

NODE = """
const { parse } = require(process.argv[1] + '/dotenv')
const lines = require('fs').readFileSync(0, 'utf8').trim().split('\\n')
for (const line of lines) console.log(JSON.stringify(parse(JSON.parse(line)).V ?? null))
"""

PIECES = list("abz09_-.:/@%&=?,") + [" ", " ", "\t", "#", " #", "'", "'", '"', '"', "\\", "\\n", "\\\\", "`"]


def generated(seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        value = "".join(chance.choices(PIECES, k=chance.randrange(9)))
        kind = chance.randrange(4)
        if kind == 0:
            quote = chance.choice("'\"")
            breaks = chance.choice(["", "", "\n"])
            value = quote + value + breaks + "x" + quote + chance.choice(["", "", " ", " # c", "#c", "d"])
        export = chance.choice(["", "", "export "])
        equals = chance.choice(["=", "=", "=", " = ", "= ", " ="])
        yield f"{export}V{equals}{value}" + chance.choice(["", "\n", "\n\n"])


def ask(program, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    answer = subprocess.run(program, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in answer.stdout.strip("\n").split("\n")]


def main():
    texts_file, output, node_modules, compose, seed, count = sys.argv[1:]
    logging.disable()
    cases = [json.loads(line) for line in open(texts_file, encoding="utf-8")]
    cases += [{"text": text} for text in generated(int(seed), int(count))]
    texts = [case["text"] for case in cases]
    for case, node in zip(cases, ask(["node", "-e", NODE, node_modules], texts), strict=True):
        case["python"] = dotenv.dotenv_values(stream=io.StringIO(case["text"]), interpolate=False).get("V")
        case["node"] = node
    if compose != "-":
        for case, values in zip(cases, ask([compose], texts), strict=True):
            case["compose"] = (values or {}).get("V")
    for case in cases:
        if "compose" not in case:
            case["without_compose"] = True
    with open(output, "w", encoding="utf-8") as lines:
        for case in cases:
            lines.write(json.dumps(case) + "\n")


main()
