// Dates in words such as "today", and groups of tasks by them. The server writes full dates, as it
// stores pages for days.

const DAY = 24 * 60 * 60 * 1000; // milliseconds
const LANGUAGE = document.documentElement.lang;

document.addEventListener("list:shown", word);
document.addEventListener("visibilitychange", word);
addEventListener("focus", word);
word();

function word() {
  const now = new Date();
  for (const time of document.querySelectorAll("#list time.due")) {
    const { date, days } = read(time.dateTime);
    const late = days < 0 && !time.closest(".row").classList.contains("done");
    const words = wording(date, days, date.getUTCFullYear() === now.getFullYear());
    time.textContent = late ? `Overdue: ${words}` : words;
    time.title = format(date, { dateStyle: "full" });
    time.classList.toggle("late", late);
    time.classList.toggle("today", days === 0);
  }
  const due = document.querySelector("#list .by-due");
  if (due) group(due);
}

/** Divide the list of what is due. */
function group(due) {
  for (const title of ["Overdue", "Today", "Later"]) {
    const rows = [...due.querySelectorAll(":scope > .row")].filter((row) => {
      const { days } = read(row.querySelector("time.due")?.dateTime);
      return title === (days < 0 ? "Overdue" : days > 0 ? "Later" : "Today");
    });
    if (!rows.length) continue;
    const heading = document.createElement("h2");
    Object.assign(heading, { className: "group", id: `due-${title}`, textContent: title });
    const part = document.createElement("ul");
    part.className = "tasks card by-due part";
    part.setAttribute("aria-labelledby", heading.id);
    part.append(...rows);
    due.before(heading, part);
  }
  due.remove();
}

// -- choosing a date ---------------------------------------------------------------------------

document.addEventListener("click", ({ target }) => {
  const when = document.querySelector("#add .when");
  const quick = target.closest(".quick button");
  if (quick) choose(quick.value);
  else if (!when.contains(target)) when.open = false;
});

document.addEventListener("keydown", (event) => {
  const when = event.target.closest?.(".when[open]");
  if (!when || event.key !== "Escape") return;
  when.open = false;
  when.querySelector("summary").focus();
});

document.addEventListener("input", ({ target }) => target.id === "id_due" && tell(target));
document.addEventListener("list:refused", () => tell(document.getElementById("id_due")));

tell(document.getElementById("id_due"));

function choose(value) {
  const { name, due } = document.getElementById("add").elements;
  const monday = 7 - ((new Date().getDay() + 6) % 7); // days until the next one
  const days = value === "monday" ? monday : Number(value);
  due.value = value && new Date(today() + days * DAY).toISOString().slice(0, 10);
  due.dispatchEvent(new Event("input", { bubbles: true }));
  due.closest(".when").open = false;
  name.focus();
}

/** Say the chosen date beside the icon. */
function tell(field) {
  const { date, days } = read(field.value);
  const words = field.value && wording(date, days, true);
  const when = field.closest(".when");
  when.querySelector(".chosen").textContent = words;
  when.querySelector("summary").ariaLabel = words ? `Date: ${words}` : "Set a date";
}

// -- words -------------------------------------------------------------------------------------

/** Return today, as the reader's clock has it, as the start of a day of UTC. */
function today() {
  const now = new Date();
  return Date.UTC(now.getFullYear(), now.getMonth(), now.getDate());
}

/** Return a date, and how many days it is from today. */
function read(text) {
  const date = new Date(`${text}T00:00Z`);
  return { date, days: Math.round((date - today()) / DAY) };
}

function wording(date, days, thisYear) {
  const near = { "-1": "Yesterday", 0: "Today", 1: "Tomorrow" }[days];
  if (near) return near;
  if (days > 1 && days < 7) return format(date, { weekday: "long" });
  const year = thisYear ? undefined : "numeric";
  return format(date, { day: "numeric", month: "short", year });
}

function format(date, options) {
  return new Intl.DateTimeFormat(`${LANGUAGE}-GB`, { timeZone: "UTC", ...options }).format(date);
}
