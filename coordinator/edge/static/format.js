// Numbers and times as people read them. Integers in: Wh, 1e-6 of the currency, UTC seconds.

const locale = navigator.language || "en";
const time = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hour12: false });
const timeWithSeconds = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const fixed = (digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const one = fixed(1), two = fixed(2), three = fixed(3), four = fixed(4);

export const clock = (at) => timeWithSeconds.format(at * 1000);
export const moment = (at) => time.format(at * 1000);
export const span = (start, interval) => `${moment(start)}–${moment(start + interval)}`;
export const count = (n) => plain.format(n);
const hundredths = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
export const amount = (n) => hundredths.format(n);
export const share = (ppm) => `${hundredths.format(ppm / 1e4)} %`;
export const percent = (share) => `${plain.format(share * 100)} %`;

export function energy(wh) {
  return Math.abs(wh) < 1000 ? `${plain.format(wh)} Wh` : `${(Math.abs(wh) < 100000 ? two : one).format(wh / 1000)} kWh`;
}

export const money = (micro, currency) => `${two.format(micro / 1e6)} ${currency}`;

// A column of money with as many digits as its largest amount leaves room for.
export function moneyColumn(amounts, currency) {
  const most = Math.max(0, ...amounts.map(Math.abs));
  const format = most < 1e5 ? four : most < 1e7 ? three : two;
  return {
    plain: (micro) => `${format.format(micro / 1e6)} ${currency}`,
    signed: (micro) => `${micro > 0 ? "+" : ""}${format.format(micro / 1e6)} ${currency}`,
  };
}

export const price = (micro) => (micro === null ? "–" : three.format(micro / 1e6));

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const tail = `${String(Math.floor((s % 3600) / 60)).padStart(s < 3600 ? 1 : 2, "0")}:${String(s % 60).padStart(2, "0")}`;
  return s < 3600 ? tail : `${Math.floor(s / 3600)}:${tail}`;
}

// A length of time in words: "15 minutes".
export function length(seconds) {
  const [number, unit] = seconds % 3600 === 0 ? [seconds / 3600, "hour"] : seconds % 60 === 0 ? [seconds / 60, "minute"] : [seconds, "second"];
  return `${number} ${unit}${number === 1 ? "" : "s"}`;
}

export const shortHash = (hash) => `${hash.slice(0, 8)}…${hash.slice(-6)}`;
