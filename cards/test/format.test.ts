import assert from "node:assert/strict";
import { test } from "node:test";
import { Format, countdown } from "../src/format.ts";
import { NOON, hass } from "./home.ts";

const plain = (text: string): string => text.replaceAll("\u00a0", " ").replaceAll("\u202f", " ");
const format = (locale: object = {}, currency = "EUR"): Format =>
  new Format({ ...hass(), locale: { ...hass().locale, ...locale } }, currency);

test("money and prices follow the user's numbers", () => {
  assert.equal(plain(format().price(214_000)), "€0.214/kWh");
  assert.equal(plain(format({ language: "de" }).price(214_000)), "0,214 €/kWh");
  assert.equal(plain(format({ number_format: "decimal_comma" }).money(-1_234_560_000)), "-1.234,56 €");
  assert.equal(plain(format({ number_format: "none" }).money(1_234_560_000)), "€1234.56");
  assert.match(plain(format({ number_format: "system" }).money(1_000_000)), /1/);
});

test("money below one of the currency shows a tenth of a cent", () => {
  assert.deepEqual([7_520, -7_520, 0, 999_999, 1_000_000].map((micro) => plain(format().money(micro))), ["€0.008", "-€0.008", "€0.00", "€1.000", "€1.00"]);
});

test("a community's own currency is written as it is called", () => {
  assert.equal(plain(format({}, "SUN$").money(1_500_000)), "1.50 SUN$");
});

test("energy is in Wh until there is a kWh of it", () => {
  assert.equal(plain(format().energy(999)), "999 Wh");
  assert.equal(plain(format().energy(-999)), "-999 Wh");
  assert.equal(plain(format().energy(1_250)), "1.25 kWh");
});

test("times are those of the home or of the browser, as the user chose", () => {
  assert.equal(format().time(NOON), "09:00");
  assert.equal(format().span(NOON, NOON + 900), "09:00–09:15");
  assert.match(plain(format({ time_format: "12" }).time(NOON)), /^09:00 am$/i);
  const here = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" }).format(NOON * 1000);
  assert.equal(format({ time_zone: "local" }).time(NOON), here);
});

test("a countdown never goes below zero", () => {
  assert.deepEqual([59.2, 60, 61, 0, -5].map(countdown).map(plain), ["1 min 00 s", "1 min 00 s", "1 min 01 s", "0 min 00 s", "0 min 00 s"]);
});

test("percentages are whole", () => {
  assert.equal(plain(format().percent(1, 3)), "33 %");
});
