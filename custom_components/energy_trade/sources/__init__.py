"""Where a plan's outlook comes from: prices, sun, the recorder, batteries, calendars."""
