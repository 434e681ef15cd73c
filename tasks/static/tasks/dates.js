// Dates in words such as "today". The server writes full dates, as it stores pages for days.

const DAY = 24 * 60 * 60 * 1000; // milliseconds
const LANGUAGE = document.documentElement.lang;

document.addEventListener("list:shown", word);
document.addEventListener("visibilitychange", word);
addEventListener("focus", word);
word();

function word() {
  const now = new Date();
  const today = Date.UTC(now.getFullYear(), now.getMonth(), now.getDate());
  for (const time of document.querySelectorAll("#list time.due")) {
    const date = new Date(`${time.dateTime}T00:00Z`);
    const days = Math.round((date - today) / DAY);
    const late = days < 0 && !time.closest(".row").classList.contains("done");
    const words = wording(date, days, date.getUTCFullYear() === now.getFullYear());
    time.textContent = late ? `Overdue: ${words}` : words;
    time.title = format(date, { dateStyle: "full" });
    time.classList.toggle("late", late);
    time.classList.toggle("today", days === 0);
  }
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
