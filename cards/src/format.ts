// Numbers, money and times as this user wants to read them.
import type { Hass } from "./types.ts";

const MICRO = 1_000_000;
const NUMBER_LOCALES: Record<string, string[]> = {
  comma_decimal: ["en-US"],
  decimal_comma: ["de"],
  space_comma: ["fr"],
  quote_decimal: ["de-CH"],
};

export class Format {
  private readonly numbers: string[] | undefined;
  private readonly grouping: boolean;
  private readonly times: Intl.DateTimeFormat;
  private readonly currency: string;

  constructor(hass: Pick<Hass, "locale" | "config">, currency: string) {
    const { language, number_format, time_format, time_zone } = hass.locale;
    this.numbers = number_format === "system" ? undefined : (NUMBER_LOCALES[number_format] ?? [language]);
    this.grouping = number_format !== "none";
    this.currency = currency;
    this.times = new Intl.DateTimeFormat(time_format === "system" ? undefined : language, {
      hour: "2-digit",
      minute: "2-digit",
      ...(time_format === "12" ? { hour12: true } : time_format === "24" ? { hourCycle: "h23" } : {}),
      ...(time_zone === "server" ? { timeZone: hass.config.time_zone } : {}),
    });
  }

  number(value: number, least: number, most = least): string {
    return new Intl.NumberFormat(this.numbers, {
      minimumFractionDigits: least,
      maximumFractionDigits: most,
      useGrouping: this.grouping,
    }).format(value);
  }

  /** Write 1e-6 of the currency as money; the gain of one interval is seen from a tenth of a cent on. */
  money(micro: number, digits = micro !== 0 && Math.abs(micro) < MICRO ? 3 : 2): string {
    const value = micro / MICRO;
    try {
      return new Intl.NumberFormat(this.numbers, {
        style: "currency",
        currency: this.currency,
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
        useGrouping: this.grouping,
      }).format(value);
    } catch {
      return `${this.number(value, digits)} ${this.currency}`; // a community may have a currency of its own
    }
  }

  price(microPerKwh: number): string {
    return `${this.money(microPerKwh, 3)}/kWh`;
  }

  energy(wh: number): string {
    return Math.abs(wh) < 1000 ? `${this.number(wh, 0)}\u00a0Wh` : `${this.number(wh / 1000, 2)}\u00a0kWh`;
  }

  percent(part: number, whole: number): string {
    return `${this.number((100 * part) / whole, 0)}\u00a0%`;
  }

  time(at: number): string {
    return this.times.format(at * 1000);
  }

  span(start: number, end: number): string {
    return `${this.time(start)}–${this.time(end)}`;
  }
}

/** Write seconds as minutes and seconds, so that nobody takes them for a time of day; never below zero. */
export function countdown(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(left / 60)}\u00a0min ${String(left % 60).padStart(2, "0")}\u00a0s`;
}
