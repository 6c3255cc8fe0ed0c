// Shared by the pages. They ask their own server only.
"use strict";

const byId = (id) => document.getElementById(id);
const fileName = (path) => path.split("/").pop();

// A share in percent. What is not 0 or 1 is not shown as if it were.
function percent(share, digits = 1) {
  const least = 0.5 / 10 ** (digits + 2);
  const number = (value) => `${(100 * value).toFixed(digits)}\u00a0%`;
  if (share > 0 && share < least) return `<\u00a0${number(2 * least)}`;
  if (share < 1 && share >= 1 - least) return `>\u00a0${number(1 - 2 * least)}`;
  return number(share);
}

// Text only ever goes in as text, so a file or a class may be called anything.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is the command in the terminal still running?");
  }
  if (response.ok) return response.json();
  throw Object.assign(new Error(await response.text()), { frames: Number(response.headers.get("Frames")) });
}
