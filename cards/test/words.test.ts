import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { de, en, say } from "../src/words.ts";

const places = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? "").sort();

test("German says everything that English says, with the same places to fill", () => {
  assert.deepEqual(Object.keys(de), Object.keys(en));
  for (const [word, text] of Object.entries(en)) {
    const german = de[word as keyof typeof de];
    assert.ok(german.trim() === german && german !== "", word);
    assert.deepEqual(places(german), places(text), word);
  }
});

test("a language that is not known is answered in English, its places filled", () => {
  assert.equal(say("fr", "more", { count: "96" }), "Show all 96 intervals");
  assert.equal(say("de-AT", "more", { count: "96" }), "Alle 96 Intervalle zeigen");
  assert.equal(say("en", "more"), "Show all {count} intervals");
});

test("every word is used", () => {
  const folder = new URL("../src/", import.meta.url);
  const source = readdirSync(folder).filter((name) => name !== "words.ts");
  const text = source.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  const composed = /_about$|_today$|^(emergency|island|strained)$/; // of a card's name, a sum, a state of the grid
  const unused = Object.keys(en).filter((word) => !composed.test(word) && !text.includes(`"${word}"`));
  assert.deepEqual(unused, []);
});
