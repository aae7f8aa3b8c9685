// What the cards share: Home Assistant's own tokens; colour is an accent and never alone.
import { css } from "lit";

export const styles = css`
  :host {
    display: block;
    --trade-sell: var(--energy-grid-return-color, #8353d1);
    --trade-buy: var(--energy-grid-consumption-color, #488fc2);
    --trade-alarm: var(--error-color, #db4437);
    --trade-warn: var(--warning-color, #ffa600);
    --trade-line: var(--divider-color, #e0e0e0);
    --trade-soft: var(--secondary-background-color, #f5f5f5);
    --gap-1: var(--ha-space-1, 4px);
    --gap-2: var(--ha-space-2, 8px);
    --gap-4: var(--ha-space-4, 16px);
    --round: var(--ha-border-radius-md, 8px);
  }
  ha-card {
    display: flex;
    flex-direction: column;
    gap: var(--gap-4);
    padding: var(--gap-4);
    height: 100%;
    box-sizing: border-box;
    container-type: inline-size;
    font-variant-numeric: tabular-nums;
    color: var(--primary-text-color);
  }
  .head {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: var(--gap-1) var(--gap-4);
  }
  h2,
  h3,
  p,
  dl,
  dd,
  ul {
    margin: 0;
    padding: 0;
  }
  h2 {
    font-size: var(--ha-font-size-l, 16px);
    font-weight: var(--ha-font-weight-medium, 500);
  }
  h3 {
    font-size: var(--ha-font-size-s, 12px);
    font-weight: var(--ha-font-weight-medium, 500);
  }
  .quiet,
  dt {
    font-size: var(--ha-font-size-s, 12px);
  }
  .age::before,
  .mark::before {
    content: "";
    display: inline-block;
    width: 8px;
    height: 8px;
    margin-inline-end: 6px;
    border-radius: 50%;
    background: var(--accent, var(--trade-line));
  }
  .age[data-state="live"] {
    --accent: var(--success-color, #43a047);
  }
  .age[data-state="polling"] {
    --accent: var(--trade-warn);
  }
  .age[data-state="old"] {
    --accent: var(--trade-alarm);
  }
  .notice {
    padding: var(--gap-2) var(--gap-4);
    border-inline-start: 4px solid var(--trade-warn);
    border-radius: var(--round);
    background: var(--trade-soft);
  }
  .notice.alarm {
    border: 2px solid var(--trade-alarm);
    border-inline-start-width: 8px;
    font-weight: var(--ha-font-weight-medium, 500);
  }
  .answer {
    font-size: var(--ha-font-size-xl, 20px);
    line-height: 1.3;
    text-wrap: balance;
  }
  .figures {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(88px, 1fr));
    gap: var(--gap-2) var(--gap-4);
  }
  .figures dd:not(.quiet) {
    font-size: var(--ha-font-size-l, 16px);
    font-weight: var(--ha-font-weight-medium, 500);
  }
  .ends {
    display: flex;
    flex-wrap: wrap;
    justify-content: space-between;
    gap: 0 var(--gap-4);
    margin-top: var(--gap-1);
  }
  button {
    min-height: 44px;
    padding: 0 var(--gap-4);
    border: 1px solid var(--trade-line);
    border-radius: var(--round);
    background: var(--card-background-color, #fff);
    color: var(--primary-text-color);
    font: inherit;
    cursor: pointer;
  }
  button:hover:not(:disabled) {
    background: var(--trade-soft);
  }
  button:disabled {
    cursor: default;
  }
  :focus-visible {
    outline: 2px solid var(--primary-color, #009ac7);
    outline-offset: 2px;
  }
  summary {
    min-height: 44px;
    display: flex;
    align-items: center;
    gap: var(--gap-2);
    cursor: pointer;
  }
  summary::before {
    content: "▸";
  }
  details[open] > summary::before {
    content: "▾";
  }
  .scroll {
    max-height: 320px;
    overflow: auto;
  }
  table {
    width: 100%;
    border-collapse: collapse;
    font-size: var(--ha-font-size-s, 12px);
  }
  th,
  td {
    padding: var(--gap-1);
    border-bottom: 1px solid var(--trade-line);
    text-align: start;
  }
  td.number {
    text-align: end;
    white-space: nowrap;
  }
  a {
    color: var(--primary-text-color);
    text-underline-offset: 3px;
  }
  .hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  svg {
    display: block;
    width: 100%;
  }
  @media (prefers-reduced-motion: no-preference) {
    button {
      transition: background 120ms;
    }
  }
`;
