from pleinair.cli import main

main()
