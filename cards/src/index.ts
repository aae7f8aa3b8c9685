// Makes the cards and the dashboard known to Home Assistant.
import { FlowCard } from "./flow-card.ts";
import { PlanCard } from "./plan-card.ts";
import { dashboardOf } from "./strategy.ts";
import { suggestion } from "./suggest.ts";
import { TradingCard } from "./trading-card.ts";
import type { Hass } from "./types.ts";
import { say, type Word } from "./words.ts";

interface Offer {
  type: string;
  [key: string]: unknown;
}

declare global {
  interface Window {
    customCards?: Offer[];
    customStrategies?: Offer[];
  }
}

class EnergyTradeStrategy extends HTMLElement {
  static generate(_config: unknown, hass: Hass): Promise<object> {
    return dashboardOf(hass);
  }
}

const DOCS = "https://github.com/energy-trade/energy-trade";
const language = (): string => document.documentElement.lang || "en";
const word = (text: Word): string => say(language(), text);

/** The editor's form: the same for every card, made by Home Assistant. */
function configForm(): object {
  const words: Record<string, [Word, Word]> = {
    entry_id: ["config_entry", "config_entry_help"],
    title: ["config_title", "config_title_help"],
  };
  return {
    schema: [
      { name: "entry_id", selector: { config_entry: { integration: "energy_trade" } } },
      { name: "title", selector: { text: {} } },
    ],
    computeLabel: ({ name }: { name: string }) => words[name] && word(words[name][0]),
    computeHelper: ({ name }: { name: string }) => words[name] && word(words[name][1]),
  };
}

/** Define an element now, and once more should Home Assistant have replaced the registry meanwhile. */
function define(tag: string, element: CustomElementConstructor): void {
  const put = (): void => void (customElements.get(tag) ?? customElements.define(tag, element));
  put();
  void customElements.whenDefined("home-assistant").then(put).catch(() => undefined);
}

function offer(list: Offer[], offered: Offer): void {
  if (!list.some(({ type }) => type === offered.type)) list.push(offered);
}

function start(): void {
  const cards = [
    { tag: "energy-trade-trading-card", element: TradingCard, name: "trading", fits: () => true },
    { tag: "energy-trade-plan-card", element: PlanCard, name: "plan", fits: (key: string) => /decision|forecast|limit|policy/.test(key) },
    { tag: "energy-trade-flow-card", element: FlowCard, name: "flow", fits: (key: string) => key.startsWith("energy_") },
  ] as const;
  window.customCards ??= [];
  for (const { tag, element, name, fits } of cards) {
    Object.assign(element, { getConfigForm: configForm });
    define(tag, element);
    offer(window.customCards, {
      type: tag,
      name: `Energy Trade: ${word(name)}`,
      description: word(`${name}_about`),
      preview: true,
      documentationURL: DOCS,
      getEntitySuggestion: suggestion(tag, fits),
    });
  }
  define("ll-strategy-dashboard-energy-trade", EnergyTradeStrategy);
  window.customStrategies ??= [];
  offer(window.customStrategies, {
    type: "energy-trade",
    strategyType: "dashboard",
    name: "Energy Trade",
    description: word("strategy_about"),
    documentationURL: DOCS,
  });
}

start();
