from demo.training.command import main

main()
