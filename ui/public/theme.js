// Before anything is painted: the theme that this browser was told to show. A file of its own, since nothing may stand inline.
try {
  const theme = JSON.parse(localStorage.getItem("cordwood.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing follows the system.
}
